import { createContext, useCallback, useContext, useEffect, useMemo, useRef, useState, type ReactNode } from "react";
import { api, isSessionOver, useToken, type Session, type Settings } from "./api";

type State = {
  settings: Settings | null;
  /** undefined: not known yet; null: nobody is signed in. */
  session: Session | null | undefined;
  /** The session that ended while it was used: its pages wait, hidden, for the same principal. */
  ended: Session | null;
  /** Whoever was signed in has signed out. */
  left: boolean;
  signIn(accessKeyId: string, secretAccessKey: string, sessionToken: string): Promise<void>;
  signOut(): Promise<void>;
};

const Context = createContext<State | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [settings, setSettings] = useState<Settings | null>(null);
  const [session, setSession] = useState<Session | null | undefined>(undefined);
  const [ended, setEnded] = useState<Session | null>(null);
  const [left, setLeft] = useState(false);
  const current = useRef<Session | null>(null);

  const over = useCallback(() => {
    if (current.current) setEnded(current.current);
    current.current = null;
    setSession(null);
  }, []);
  const begin = useCallback(
    (s: Session | null) => {
      useToken(s?.csrf ?? "", over);
      current.current = s;
      setSession(s);
      setEnded(null);
      setLeft(false);
    },
    [over],
  );

  useEffect(() => {
    api.settings().then(setSettings, () => {});
    api.session().then(begin, () => begin(null));
  }, [begin]);

  // A page that nobody touches finds out, too, that its session is over, or that another tab began another.
  useEffect(() => {
    if (!session) return;
    const look = () =>
      api.session().then(
        (s) => current.current && s.csrf !== current.current.csrf && begin(s),
        (e: unknown) => isSessionOver(e) && over(),
      );
    const timer = window.setInterval(look, Math.min(60_000, Math.max(2_000, ((settings?.idleSeconds ?? 1800) * 1000) / 4)));
    return () => window.clearInterval(timer);
  }, [session, settings?.idleSeconds, begin, over]);

  const state = useMemo<State>(
    () => ({
      settings,
      session,
      ended,
      left,
      signIn: async (id, secret, token) => begin(await api.signIn(id, secret, token)),
      signOut: async () => {
        await api.signOut().catch(() => {}); // a session that is over already is as good
        begin(null);
        setLeft(true);
      },
    }),
    [settings, session, ended, left, begin],
  );
  return <Context.Provider value={state}>{children}</Context.Provider>;
}

export function useSession(): State {
  const s = useContext(Context);
  if (!s) throw new Error("useSession is used outside SessionProvider");
  return s;
}

/** The session, on pages that are there for people who are signed in. */
export function useSignedIn(): Session {
  const { session, ended } = useSession();
  const s = session ?? ended;
  if (!s) throw new Error("nobody is signed in");
  return s;
}

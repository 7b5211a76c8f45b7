import { createContext, useCallback, useContext, useEffect, useMemo, useState, type ReactNode } from "react";
import { api, useToken, type Session, type Settings } from "./api";

type State = {
  settings: Settings | null;
  /** undefined: not known yet; null: nobody is signed in. */
  session: Session | null | undefined;
  /** The session ended while it was used. */
  expired: boolean;
  signIn(accessKeyId: string, secretAccessKey: string, sessionToken: string): Promise<void>;
  signOut(): Promise<void>;
};

const Context = createContext<State | null>(null);

export function SessionProvider({ children }: { children: ReactNode }) {
  const [settings, setSettings] = useState<Settings | null>(null);
  const [session, setSession] = useState<Session | null | undefined>(undefined);
  const [expired, setExpired] = useState(false);

  const begin = useCallback((s: Session | null) => {
    useToken(s?.csrf ?? "", () => {
      setExpired(true);
      setSession(null);
    });
    setSession(s);
    if (s) setExpired(false);
  }, []);

  useEffect(() => {
    api.settings().then(setSettings, () => {});
    api.session().then(begin, () => begin(null));
  }, [begin]);

  // A page that nobody touches finds out, too, that its session is over.
  useEffect(() => {
    if (!session) return;
    const timer = window.setInterval(() => {
      api.session().then(
        (s) => setSession((old) => (old && old.arn === s.arn && old.csrf === s.csrf ? { ...old, idleExpires: s.idleExpires } : s)),
        (e: { status?: number }) => {
          if (e.status === 401) {
            setExpired(true);
            begin(null);
          }
        },
      );
    }, Math.min(60_000, Math.max(2_000, ((settings?.idleSeconds ?? 1800) * 1000) / 4)));
    return () => window.clearInterval(timer);
  }, [session?.csrf, settings?.idleSeconds, begin]);

  const state = useMemo<State>(
    () => ({
      settings,
      session,
      expired,
      signIn: async (id, secret, token) => begin(await api.signIn(id, secret, token)),
      signOut: async () => {
        await api.signOut().catch(() => {}); // a session that is over already is as good
        begin(null);
      },
    }),
    [settings, session, expired, begin],
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
  const { session } = useSession();
  if (!session) throw new Error("nobody is signed in");
  return session;
}

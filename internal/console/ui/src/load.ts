import { useCallback, useEffect, useRef, useState } from "react";

export type Loaded<T> = {
  data: T | undefined;
  error: Error | undefined;
  loading: boolean;
  reload(): void;
};

/** useLoad loads when a page opens and whenever key changes; the newest request wins. */
export function useLoad<T>(key: string, load: (signal: AbortSignal) => Promise<T>): Loaded<T> {
  const [state, setState] = useState<{ key: string; data?: T; error?: Error; loading: boolean }>({ key, loading: true });
  const [turn, setTurn] = useState(0);
  const latest = useRef(load);
  latest.current = load;
  useEffect(() => {
    const gone = new AbortController();
    setState((old) => ({ key, data: old.key === key ? old.data : undefined, loading: true }));
    latest.current(gone.signal).then(
      (data) => gone.signal.aborted || setState({ key, data, loading: false }),
      (error: Error) => gone.signal.aborted || setState((old) => ({ key, data: old.data, error, loading: false })),
    );
    return () => gone.abort();
  }, [key, turn]);
  const reload = useCallback(() => setTurn((n) => n + 1), []);
  return { data: state.key === key ? state.data : undefined, error: state.error, loading: state.loading, reload };
}

/** usePoll calls f every so many milliseconds while on, one call after the other. */
export function usePoll(on: boolean, milliseconds: number, f: () => Promise<void>) {
  const latest = useRef(f);
  latest.current = f;
  useEffect(() => {
    if (!on) return;
    let timer = 0;
    let gone = false;
    const next = () => {
      timer = window.setTimeout(() => {
        latest.current().finally(() => {
          if (!gone) next();
        });
      }, milliseconds);
    };
    next();
    return () => {
      gone = true;
      window.clearTimeout(timer);
    };
  }, [on, milliseconds]);
}

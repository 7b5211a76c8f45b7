import { useCallback, useRef, useState } from "react";

export type Act = {
  running: boolean;
  error: Error | undefined;
  /** Does it, and says whether it went well; while it runs, another call does nothing. */
  run(f: () => Promise<void>): Promise<boolean>;
  clear(): void;
};

/** useAct is for what changes something: once at a time, however often a button is pressed. */
export function useAct(): Act {
  const busy = useRef(false);
  const [running, setRunning] = useState(false);
  const [error, setError] = useState<Error>();
  const run = useCallback(async (f: () => Promise<void>) => {
    if (busy.current) return false;
    busy.current = true;
    setRunning(true);
    setError(undefined);
    try {
      await f();
      return true;
    } catch (e) {
      setError(e as Error);
      return false;
    } finally {
      busy.current = false;
      setRunning(false);
    }
  }, []);
  const clear = useCallback(() => setError(undefined), []);
  return { running, error, run, clear };
}

/** A token by which the server knows a repeated request: it answers the first one's result for five minutes. */
export function idempotencyToken(): string {
  return Array.from(crypto.getRandomValues(new Uint8Array(16)), (b) => b.toString(16).padStart(2, "0")).join("");
}

/** Brings a person to the first field that is marked, once the page shows the marks. */
export function focusFirstError() {
  requestAnimationFrame(() => document.querySelector<HTMLElement>("[aria-invalid=true]")?.focus());
}

import { useEffect, useState } from "react";
import { api, type Decision } from "./api";

/** Why an action cannot be taken; "" when it can, or when it is not known yet. */
export type Reasons = (action: string) => string;

/**
 * useMay asks what whoever is signed in may do with a resource. While the answer
 * is on its way nothing is forbidden: the server decides again in any case.
 * template is what certificates would be issued from; without one the default.
 */
export function useMay(resource: string, actions: string[], template?: string): Reasons {
  const [decisions, setDecisions] = useState<Record<string, Decision>>({});
  const wanted = actions.join(" ");
  useEffect(() => {
    if (!resource) return;
    const gone = new AbortController();
    setDecisions({});
    api.may(resource, wanted.split(" "), gone.signal, template).then(
      (answer) => setDecisions(answer.decisions),
      () => {},
    );
    return () => gone.abort();
  }, [resource, wanted, template]);
  return (action) => {
    const d = decisions[action];
    return d && !d.allowed ? d.reason : "";
  };
}

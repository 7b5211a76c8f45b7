import { useEffect, useState } from "react";
import { useLocation } from "react-router";

/** Whether a tab is shown to be changed: from its own button, or because an action led here to do so. */
export function useEditing() {
  const { key, state } = useLocation();
  const wanted = (state as { edit?: boolean } | null)?.edit === true;
  const [editing, setEditing] = useState(wanted);
  useEffect(() => {
    if (wanted) setEditing(true);
  }, [key, wanted]);
  return [editing, setEditing] as const;
}

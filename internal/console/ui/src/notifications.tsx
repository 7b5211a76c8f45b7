import Flashbar, { type FlashbarProps } from "@cloudscape-design/components/flashbar";
import { createContext, useCallback, useContext, useMemo, useState, type ReactNode } from "react";

type Notify = (type: "success" | "error" | "info" | "warning" | "in-progress", header: string, content?: ReactNode) => void;

const Context = createContext<{ notify: Notify; bar: ReactNode } | null>(null);
let next = 0;

export function NotificationsProvider({ children }: { children: ReactNode }) {
  const [items, setItems] = useState<FlashbarProps.MessageDefinition[]>([]);
  const notify = useCallback<Notify>((type, header, content) => {
    const id = String(next++);
    const item: FlashbarProps.MessageDefinition = {
      id,
      type,
      header,
      content,
      dismissible: true,
      dismissLabel: `Dismiss: ${header}`,
      ariaRole: type === "error" ? "alert" : "status",
      onDismiss: () => setItems((old) => old.filter((i) => i.id !== id)),
    };
    setItems((old) => [item, ...old].slice(0, 5));
  }, []);
  const bar = <Flashbar items={items} stackItems i18nStrings={{ ariaLabel: "Notifications" }} />;
  const value = useMemo(() => ({ notify, bar }), [notify, items]);
  return <Context.Provider value={value}>{children}</Context.Provider>;
}

export function useNotify(): Notify {
  return useNotifications().notify;
}

export function useNotifications() {
  const c = useContext(Context);
  if (!c) throw new Error("useNotify is used outside NotificationsProvider");
  return c;
}

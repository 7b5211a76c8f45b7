import type { CollectionPreferencesProps } from "@cloudscape-design/components/collection-preferences";
import { useState } from "react";

export type TablePreferences = Pick<CollectionPreferencesProps.Preferences, "pageSize" | "wrapLines" | "contentDisplay">;

/** How somebody wants a table to look; it stays in the browser. */
export function usePreferences(table: string, initial: TablePreferences) {
  const key = `chirograph-table-${table}`;
  const [preferences, setPreferences] = useState<TablePreferences>(() => {
    try {
      return { ...initial, ...(JSON.parse(localStorage.getItem(key) ?? "{}") as TablePreferences) };
    } catch {
      return initial;
    }
  });
  const set = ({ pageSize, wrapLines, contentDisplay }: CollectionPreferencesProps.Preferences) => {
    const next = { pageSize, wrapLines, contentDisplay };
    localStorage.setItem(key, JSON.stringify(next));
    setPreferences(next);
  };
  return [preferences, set] as const;
}

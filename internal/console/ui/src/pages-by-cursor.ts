import type { PaginationProps } from "@cloudscape-design/components/pagination";
import { useCallback, useEffect, useState } from "react";

type Pages = {
  /** Counted from 1. */
  index: number;
  /** What the server is asked with for this page; "" for the first. */
  cursor: string;
  more: boolean;
  /** The page was read, and this leads to the next; "": it was the last. */
  found(next: string): void;
  props: PaginationProps;
};

/** usePages goes through a list that only says how it goes on; another key begins it anew. */
export function usePages(key: string): Pages {
  const [state, setState] = useState({ key, index: 1, cursors: [""] });
  const { index, cursors } = state.key === key ? state : { index: 1, cursors: [""] };
  useEffect(() => setState((old) => (old.key === key ? old : { key, index: 1, cursors: [""] })), [key]);
  const found = useCallback(
    (next: string) =>
      setState((old) => {
        if (old.key !== key || (old.cursors[old.index] ?? "") === next) return old;
        const known = old.cursors.slice(0, old.index);
        return { ...old, cursors: next ? [...known, next] : known };
      }),
    [key],
  );
  return {
    index,
    cursor: cursors[index - 1] ?? "",
    more: index < cursors.length,
    found,
    props: {
      currentPageIndex: index,
      pagesCount: cursors.length,
      onChange: (e) => setState({ key, cursors, index: Math.min(e.detail.currentPageIndex, cursors.length) }),
    },
  };
}

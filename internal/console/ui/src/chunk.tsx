import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import { Component, lazy, type ComponentType, type ReactNode } from "react";

/** A part of the application could not be loaded: the server is away, or was upgraded and has other files now. */
class NotLoaded extends Error {}

/** later makes a component of a module that is loaded when the component is first shown. */
export function later<P = object>(load: () => Promise<{ default: ComponentType<P> }>) {
  return lazy(() =>
    load().catch((e: unknown) => {
      throw new NotLoaded("a part of the console was not loaded", { cause: e });
    }),
  );
}

/** preload loads what is likely to be shown next, once the browser has nothing better to do. Failures show when it is. */
export function preload(...loads: (() => Promise<unknown>)[]) {
  const all = () => loads.forEach((load) => load().catch(() => {}));
  if ("requestIdleCallback" in window) window.requestIdleCallback(all, { timeout: 2000 });
  else globalThis.setTimeout(all, 200);
}

/** What fails below it is told in its place, and the rest of the page stays. */
export class Boundary extends Component<{ children: ReactNode }, { error?: unknown }> {
  override state: { error?: unknown } = {};

  static getDerivedStateFromError(error: unknown) {
    return { error };
  }

  override render() {
    const { error } = this.state;
    if (error === undefined) return this.props.children;
    const missing = error instanceof NotLoaded;
    return (
      <Box padding="l">
        <Alert
          type="error"
          header={missing ? "This part of the console could not be loaded" : "This page has failed"}
          action={<Button onClick={() => window.location.reload()}>Reload page</Button>}
        >
          {missing
            ? "The server may have been upgraded or may be away. Reload the page; what you have typed and not sent is lost."
            : `Reload the page. If it fails again, report this: ${error instanceof Error ? error.message : String(error)}`}
        </Alert>
      </Box>
    );
  }
}

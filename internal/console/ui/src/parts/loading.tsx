import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import type { ReactNode } from "react";
import { ApiError } from "../api";
import type { Loaded } from "../load";

/** What is shown of something that comes from the server: that it is on its way, that it does not come, or it. */
export function Loading<T>({ of, what, children }: { of: Loaded<T>; what: string; children: (data: T) => ReactNode }) {
  if (of.data !== undefined) return children(of.data);
  if (of.error) return <LoadFailure of={of} what={what} />;
  return <StatusIndicator type="loading">Reading the {what}</StatusIndicator>;
}

/** Why something does not come, and another try; what somebody may not read is no error of the page. */
export function LoadFailure({ of, what }: { of: Loaded<unknown>; what: string }) {
  if (of.error instanceof ApiError && of.error.code === "AccessDeniedException") {
    return (
      <Alert type="info" header={`You may not read the ${what}`}>
        {of.error.message}
      </Alert>
    );
  }
  return (
    <div role="alert">
      <Alert type="error" header={`The ${what} could not be read`} action={<Button onClick={of.reload}>Try again</Button>}>
        {of.error?.message}
      </Alert>
    </div>
  );
}

import Alert from "@cloudscape-design/components/alert";
import { ApiError } from "../api";

/** What the server said, in its own words; nothing while there is no error. */
export function Failure({ error, header }: { error: Error | undefined; header: string }) {
  if (!error) return null;
  return (
    <div role="alert">
      <Alert type="error" header={header}>
        {error.message}
        {error instanceof ApiError && error.code ? ` (${error.code})` : ""}
      </Alert>
    </div>
  );
}

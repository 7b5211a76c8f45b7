import StatusIndicator, { type StatusIndicatorProps } from "@cloudscape-design/components/status-indicator";
import type { Status } from "../api";
import { words } from "../text";

const indicator: Record<Status, StatusIndicatorProps.Type> = {
  CREATING: "in-progress",
  PENDING_CERTIFICATE: "pending",
  ACTIVE: "success",
  DISABLED: "stopped",
  EXPIRED: "warning",
  DELETED: "stopped",
  FAILED: "error",
};

/** The status of a CA; of one that this server does not have, none is known. */
export function AuthorityStatus({ status }: { status: string }) {
  return <StatusIndicator type={indicator[status as Status] ?? "info"}>{words(status)}</StatusIndicator>;
}

import StatusIndicator from "@cloudscape-design/components/status-indicator";
import type { CertificateStatus as Status } from "../api";

export function CertificateStatus({ status }: { status: Status }) {
  switch (status) {
    case "VALID":
      return <StatusIndicator type="success">Valid</StatusIndicator>;
    case "REVOKED":
      return <StatusIndicator type="error">Revoked</StatusIndicator>;
    case "UNKNOWN":
      return <StatusIndicator type="pending">Not shown to you</StatusIndicator>;
    case "EXPIRED":
      return <StatusIndicator type="stopped">Expired</StatusIndicator>;
  }
}

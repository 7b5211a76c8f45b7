import ProgressBar from "@cloudscape-design/components/progress-bar";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import type { Report } from "../api";
import { count } from "../text";

export function ReportStatus({ report }: { report: Report }) {
  switch (report.status) {
    case "CREATING":
      return <StatusIndicator type="in-progress">Creating</StatusIndicator>;
    case "FAILED":
      return <StatusIndicator type="error">Failed</StatusIndicator>;
    case "SUCCESS":
      return <StatusIndicator type="success">Success</StatusIndicator>;
  }
}

/** What is known here of a report's proof. */
export function ProofStatus({ report }: { report: Report }) {
  switch (report.proof) {
    case "NONE":
      return <StatusIndicator type="not-started">{report.status === "CREATING" ? "Not yet" : "None"}</StatusIndicator>;
    case "SIGNED":
      return <StatusIndicator type="info">Signed</StatusIndicator>;
    case "VERIFIED":
      return <StatusIndicator type="success">Verified here</StatusIndicator>;
    case "FAILED":
      return <StatusIndicator type="error">Verification failed</StatusIndicator>;
  }
}

/** How far a report is that is being created, in entries of the log. */
export function ReportProgress({ report, small = false }: { report: Report; small?: boolean }) {
  const percent = report.total > 0 ? Math.floor((100 * report.done) / report.total) : 0;
  const words = `${count(report.done)} of ${count(report.total)} log entries`;
  return (
    <ProgressBar
      variant={small ? "key-value" : "standalone"}
      value={percent}
      label={small ? undefined : "Creating the audit report"}
      ariaLabel={small ? `Progress of report ${report.id}` : undefined}
      description={small ? undefined : words}
      additionalInfo={small ? words : `${count(report.rows)} rows so far`}
    />
  );
}

/** How long something took. */
export function duration(from: string, to: string | undefined): string {
  if (!to) return "–";
  const ms = Math.max(0, new Date(to).getTime() - new Date(from).getTime());
  if (ms < 1000) return `${ms} ms`;
  const s = ms / 1000;
  if (s < 60) return `${s.toFixed(1)} s`;
  const minutes = Math.floor(s / 60);
  return minutes < 60 ? `${minutes} min ${Math.floor(s % 60)} s` : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

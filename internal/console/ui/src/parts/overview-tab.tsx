import Box from "@cloudscape-design/components/box";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import Link from "@cloudscape-design/components/link";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import type { Report, ReportAllowed, Status } from "../api";
import { useMay } from "../permissions";
import { at } from "../routes";
import { useSignedIn } from "../session";
import { href, useFollow } from "../shell";
import { count, time, whyNoReport } from "../text";
import { Hierarchy } from "./hierarchy";
import { ProofStatus, ReportProgress, ReportStatus } from "./report-status";
import type { TabProps } from "./tab";

const describeReports = "acm-pca:DescribeCertificateAuthorityAuditReport";
const notShown = "Not shown to accounts that the private CA is shared with.";

/** What a CA has done, and where it stands among others. */
export default function OverviewTab({ details }: TabProps) {
  const follow = useFollow();
  const { authority, issued, revoked, logSize, lastReport, reportAllowed, hierarchy } = details;
  const arn = authority.Arn;
  const shared = authority.OwnerAccount !== useSignedIn().account;
  const forbidden = useMay(arn, [describeReports])(describeReports);
  // Sharing gives nobody the right, so that other accounts need not wait for the answer.
  const hidden = lastReport ? "" : shared ? notShown : forbidden && "Not shown: you may not read the audit reports of this private CA.";
  const figure = (n: number | null, where: string, what: string) =>
    n === null ? (
      "–"
    ) : (
      <Link href={href(where)} onFollow={follow} variant="awsui-value-large" ariaLabel={`${count(n)} ${what}`}>
        {count(n)}
      </Link>
    );
  return (
    <SpaceBetween size="l">
      <Container
        header={
          <Header variant="h2" description={shared ? notShown : undefined}>
            Activity
          </Header>
        }
      >
        <KeyValuePairs
          columns={3}
          items={[
            { label: "Certificates issued", value: figure(issued, at.authority(arn, "certificates"), "certificates issued") },
            { label: "Certificates revoked", value: figure(revoked, `${at.authority(arn, "certificates")}&status=REVOKED`, "certificates revoked") },
            { label: "Log entries", value: figure(logSize, at.authority(arn, "events"), "log entries") },
          ]}
        />
      </Container>
      <Container
        header={
          <Header
            variant="h2"
            actions={
              hidden ? undefined : (
                <Link href={href(at.authority(arn, "reports"))} onFollow={follow}>
                  All audit reports
                </Link>
              )
            }
          >
            Last audit report
          </Header>
        }
      >
        <LastReport arn={arn} status={authority.Status} report={lastReport} hidden={hidden} allowed={reportAllowed} />
      </Container>
      <Container
        header={
          <Header variant="h2" description="From the topmost CA that is known, down to those that this one signed.">
            Hierarchy
          </Header>
        }
      >
        <Hierarchy root={hierarchy} />
      </Container>
    </SpaceBetween>
  );
}

type LastReportProps = { arn: string; status: Status; report: Report | null; hidden: string; allowed: ReportAllowed };

function LastReport({ arn, status, report, hidden, allowed }: LastReportProps) {
  const follow = useFollow();
  const next = allowed.allowed ? (
    <StatusIndicator type="success">Now</StatusIndicator>
  ) : (
    <StatusIndicator type="info">{allowed.at ? `From ${time(allowed.at)}` : whyNoReport(allowed, status, report)}</StatusIndicator>
  );
  if (!report) {
    return (
      <SpaceBetween size="m">
        <Box color="text-body-secondary">{hidden || "No audit report has been generated."}</Box>
        <KeyValuePairs columns={3} items={[{ label: "The next can be generated", value: next }]} />
      </SpaceBetween>
    );
  }
  return (
    <KeyValuePairs
      columns={3}
      items={[
        {
          label: "Generated",
          value: (
            <Link href={href(at.report(arn, report.id))} onFollow={follow}>
              {time(report.createdAt)}
            </Link>
          ),
        },
        { label: "Status", value: report.status === "CREATING" ? <ReportProgress report={report} small /> : <ReportStatus report={report} /> },
        { label: "Rows", value: `${count(report.rows)}, ${count(report.revoked)} of them revoked` },
        { label: "Log entries covered", value: count(report.entries) },
        { label: "Proof", value: <ProofStatus report={report} /> },
        { label: "The next can be generated", value: next },
      ]}
    />
  );
}

import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ContentLayout from "@cloudscape-design/components/content-layout";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import LiveRegion from "@cloudscape-design/components/live-region";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useEffect, useState } from "react";
import { useNavigate, useParams } from "react-router";
import { useAct } from "../act";
import { api, type Report } from "../api";
import { useAuthorityArn } from "../authority";
import { useLoad, usePoll } from "../load";
import { useNotify } from "../notifications";
import { Code, Copyable } from "../parts/code";
import { Failure } from "../parts/failure";
import { Loading } from "../parts/loading";
import { NoPreview, ReportPreview } from "../parts/report-preview";
import { ReportProof } from "../parts/report-proof";
import { duration, ProofStatus, ReportProgress, ReportStatus } from "../parts/report-status";
import { useMay } from "../permissions";
import { at } from "../routes";
import { usePage } from "../shell";
import { bytes, count, subject, time } from "../text";

export default function ReportDetails() {
  const arn = useAuthorityArn();
  const id = useParams().report ?? "";
  const report = useLoad(`${arn} ${id}`, (signal) => api.report(arn, id, signal));
  const authority = useLoad(arn, (signal) => api.authority(arn, signal));
  usePage([
    { text: authority.data ? subject(authority.data.authority.CertificateAuthorityConfiguration.Subject) : "Private CA", href: at.authority(arn) },
    { text: "Audit reports", href: at.authority(arn, "reports") },
    { text: id, href: at.report(arn, id) },
  ]);
  return (
    <Loading of={report} what="audit report">
      {(r) => <Page arn={arn} read={r} />}
    </Loading>
  );
}

function Page({ arn, read }: { arn: string; read: Report }) {
  const may = useMay(arn, ["pcaaudit:GetReport"]);
  const [report, setReport] = useState(read);
  useEffect(() => setReport(read), [read]);
  const again = async () => setReport(await api.report(arn, report.id, undefined, true));
  usePoll(report.status === "CREATING", 1000, () => again().catch(() => {})); // the next turn tries again
  const forbidden = may("pcaaudit:GetReport");
  const done = report.status === "SUCCESS";
  return (
    <ContentLayout header={<Title arn={arn} report={report} forbidden={forbidden} />}>
      <SpaceBetween size="l">
        <State arn={arn} report={report} />
        <Details report={report} />
        {done && (forbidden ? <NoPreview reason={forbidden} /> : <ReportPreview ca={arn} report={report} />)}
        {done && <ReportProof ca={arn} report={report} forbidden={forbidden} onVerified={() => void again().catch(() => {})} />}
      </SpaceBetween>
    </ContentLayout>
  );
}

function Title({ arn, report, forbidden }: { arn: string; report: Report; forbidden: string }) {
  const notify = useNotify();
  const act = useAct();
  const hindrance = forbidden || (report.status === "SUCCESS" ? "" : report.status === "CREATING" ? "The report is being created." : "The report failed, and there is no file.");
  const download = (file: "report" | "manifest") =>
    void act.run(async () => {
      const link = await api.reportLink(arn, report.id, file);
      notify("info", `The ${file} is being downloaded`, `Its link works until ${time(link.expires)}, for whoever has it.`);
      window.location.assign(link.url);
    });
  return (
    <SpaceBetween size="m">
      <Header
        variant="h1"
        description={<span className="value">{report.id}</span>}
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Button
              iconName="download"
              disabled={hindrance !== "" || report.proof === "NONE"}
              disabledReason={hindrance || (report.proof === "NONE" ? "The report has no manifest." : undefined)}
              onClick={() => download("manifest")}
            >
              Download manifest
            </Button>
            <Button iconName="download" variant="primary" loading={act.running} disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={() => download("report")}>
              Download report
            </Button>
          </SpaceBetween>
        }
      >
        Audit report
      </Header>
      <Failure error={act.error} header="There is no link to the file" />
    </SpaceBetween>
  );
}

/** That it is being created, and how far; that it failed, and what to do. What changes is read out. */
function State({ arn, report }: { arn: string; report: Report }) {
  const navigate = useNavigate();
  const [was] = useState(report.status);
  if (report.status === "CREATING") {
    return (
      <Container>
        <ReportProgress report={report} />
      </Container>
    );
  }
  if (report.status === "FAILED") {
    return (
      <div role="alert">
        <Alert type="error" header="The audit report was not created" action={<Button onClick={() => navigate(at.generate(arn))}>Generate audit report</Button>}>
          <SpaceBetween size="xs">
            <span className="value">{report.reason || "The server's log has the reason."}</span>
            <span>Nothing was left in the bucket. Put right what the reason names, such as the bucket&apos;s policy, and generate a report anew: a failed one is not counted, so there is nothing to wait for.</span>
          </SpaceBetween>
        </Alert>
      </div>
    );
  }
  if (was === "CREATING") {
    return (
      <LiveRegion>
        <Alert type="success" header="The audit report is in the bucket">
          {count(report.rows)} rows, {count(report.revoked)} of them revoked.
        </Alert>
      </LiveRegion>
    );
  }
  return null;
}

function Details({ report }: { report: Report }) {
  const uri = `s3://${report.bucket}/${report.key}`;
  const done = report.status === "SUCCESS";
  return (
    <Container header={<Header variant="h2">Details</Header>}>
      <SpaceBetween size="l">
        <KeyValuePairs
          columns={4}
          items={[
            { label: "Status", value: <ReportStatus report={report} /> },
            { label: "Output format", value: report.format },
            { label: "Created", value: time(report.createdAt) },
            { label: "Time taken", value: duration(report.createdAt, report.finishedAt) },
            { label: "Rows", value: done ? count(report.rows) : "–" },
            { label: "Revoked", value: done ? count(report.revoked) : "–" },
            { label: "Size", value: done ? `${bytes(report.bytes)} (${count(report.bytes)} bytes)` : "–" },
            { label: "Proof", value: <ProofStatus report={report} /> },
          ]}
        />
        <KeyValuePairs
          columns={1}
          items={[
            { label: "S3 bucket", value: <Copyable label="bucket" text={report.bucket} /> },
            { label: "S3 key", value: <Copyable label="key" text={report.key} /> },
            { label: "S3 URI", value: <Copyable label="URI" text={uri} /> },
            { label: "SHA-256", value: report.sha256 ? <Copyable label="SHA-256" text={report.sha256} /> : "–" },
            { label: "Log entries that it covers", value: count(report.entries) },
          ]}
        />
        {done && <Code label="aws s3 cp command" text={`aws s3 cp ${uri} .`} />}
      </SpaceBetween>
    </Container>
  );
}

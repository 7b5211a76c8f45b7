import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import LiveRegion from "@cloudscape-design/components/live-region";
import ProgressBar from "@cloudscape-design/components/progress-bar";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Table from "@cloudscape-design/components/table";
import { useEffect, useState } from "react";
import { useAct } from "../act";
import { api, type Report, type Verdict, type Verification } from "../api";
import { useLoad, usePoll } from "../load";
import { bytes, count, idOf, time, words } from "../text";
import { Code } from "./code";
import { Failure } from "./failure";
import { Loading } from "./loading";
import { duration, ProofStatus } from "./report-status";

type Props = {
  ca: string;
  report: Report;
  /** Why the report may not be read; "" when it may. */
  forbidden: string;
  /** A verification has ended. */
  onVerified(): void;
};

/** What proves a report: the server's own verification, and how others verify without the server. */
export function ReportProof({ ca, report, forbidden, onVerified }: Props) {
  const act = useAct();
  const read = useLoad(`${ca} ${report.id}`, (signal) => api.verification(ca, report.id, signal));
  const [verification, setVerification] = useState<Verification>();
  useEffect(() => setVerification(read.data), [read.data]);
  const running = verification?.state === "RUNNING";
  usePoll(running, 1000, async () => {
    try {
      const v = await api.verification(ca, report.id);
      setVerification(v);
      if (v.state !== "RUNNING") onVerified();
    } catch {
      // The next turn tries again.
    }
  });
  const none = report.proof === "NONE" ? "The report has no manifest, so there is nothing to verify it by." : "";
  const hindrance = forbidden || none;
  return (
    <Container
      header={
        <Header
          variant="h2"
          description="A manifest beside the report binds it to the private CA's log of everything that its key signed."
          actions={
            <Button
              loading={act.running || running}
              loadingText="Verifying"
              disabled={hindrance !== ""}
              disabledReason={hindrance || undefined}
              onClick={() =>
                void act.run(async () => {
                  const v = await api.verify(ca, report.id);
                  setVerification(v);
                  if (v.state !== "RUNNING") onVerified();
                })
              }
            >
              Verify now
            </Button>
          }
        >
          Proof
        </Header>
      }
    >
      <SpaceBetween size="l">
        {(forbidden || verification?.state !== "DONE") && (
          <Box>
            <ProofStatus report={report} />
            {report.verifiedAt && ` (${time(report.verifiedAt)})`}
          </Box>
        )}
        <Failure error={act.error} header="The verification did not begin" />
        {!forbidden && (
          <Loading of={{ ...read, data: verification }} what="last verification">
            {(v) => <Verified verification={v} />}
          </Loading>
        )}
        <Outside report={report} />
      </SpaceBetween>
    </Container>
  );
}

function Verified({ verification: v }: { verification: Verification }) {
  switch (v.state) {
    case "NONE":
      return <Box color="text-body-secondary">This server has not verified the report yet.</Box>;
    case "RUNNING":
      return (
        <ProgressBar
          value={v.total > 0 ? Math.floor((100 * v.done) / v.total) : 0}
          label="Verifying: the log is replayed, and the report compared with it byte for byte"
          description={v.total > 0 ? `${bytes(v.done)} of ${bytes(v.total)}` : undefined}
        />
      );
    case "ERROR":
      return (
        <Alert type="error" header="The report could not be verified">
          {v.error} This says nothing about the report itself.
        </Alert>
      );
    case "DONE":
      return <Verdicts verification={v} />;
  }
}

const indicator = { pass: "success", fail: "error", unknown: "warning" } as const;
/** Verdicts name options of the command, which nothing on this page has. */
const ofTheCommand = (s: string) => s.replace(/--[a-z]+(-[a-z]+)*/g, "$& of chirograph verify");
const said = { pass: "Pass", fail: "Fail", unknown: "Unknown" };

function Verdicts({ verification: v }: { verification: Verification }) {
  const verdicts = v.verdicts ?? [];
  const failed = verdicts.filter((x) => x.status === "fail");
  const whole = ["integrity", "authenticity", "completeness"].every((name) => verdicts.some((x) => x.name === name && x.status === "pass"));
  return (
    <SpaceBetween size="m">
      <LiveRegion>
        {failed.length ? (
          <StatusIndicator type="error">
            Failed: {failed.map((x) => x.name).join(", ")}. This report does not hold what it should.
          </StatusIndicator>
        ) : !whole ? (
          <StatusIndicator type="warning">Nothing was found wrong, but not everything could be looked at.</StatusIndicator>
        ) : (
          <StatusIndicator type="success">
            Nothing is wrong: {count(v.rows ?? 0)} rows, {count(v.revoked ?? 0)} of them revoked, of {count(v.entries ?? 0)} log entries.
          </StatusIndicator>
        )}
      </LiveRegion>
      <Box color="text-body-secondary" fontSize="body-s">
        Verified by this server {time(v.finishedAt)}
        {v.startedAt && v.finishedAt ? `, in ${duration(v.startedAt, v.finishedAt)}` : ""}.
      </Box>
      <Table<Verdict>
        variant="embedded"
        wrapLines
        items={verdicts}
        trackBy="name"
        ariaLabels={{ tableLabel: "Verdicts" }}
        columnDefinitions={[
          { id: "name", header: "Question", isRowHeader: true, width: 160, cell: (x) => words(x.name) },
          {
            id: "status",
            header: "Verdict",
            width: 130,
            cell: (x) => <StatusIndicator type={indicator[x.status]}>{said[x.status]}</StatusIndicator>,
          },
          { id: "words", header: "In words", minWidth: 260, cell: (x) => `${ofTheCommand(x.words)}${x.class ? ` [${x.class}]` : ""}` },
        ]}
      />
      {v.notProven?.length ? (
        <div>
          <Box variant="h3">What was not proven</Box>
          <ul>
            {v.notProven.map((s) => (
              <li key={s}>{ofTheCommand(s)}</li>
            ))}
          </ul>
        </div>
      ) : null}
    </SpaceBetween>
  );
}

/** How somebody verifies who does not trust this server. */
function Outside({ report }: { report: Report }) {
  const folder = report.key.slice(0, report.key.lastIndexOf("/") + 1);
  const file = idOf(report.key);
  return (
    <SpaceBetween size="s">
      <Box variant="h3">For auditors: verify without this server</Box>
      <span>
        A server that vouches for itself proves nothing. Fetch the report with its proof, take the CA&apos;s certificate from a device that trusts it, and verify on a machine of your own, offline.{" "}
        <Box variant="code">chirograph-verify</Box> is the verifier alone; build it from sources that you trust. Exit code 0: all holds; 3: nothing is wrong, but nothing from before was known, as
        on a first visit; 1: tampered with.
      </span>
      <Code
        label="commands"
        text={[`aws s3 sync s3://${report.bucket}/${folder} reports/`, `chirograph verify reports/${file} --ca-certificate ca.pem --report-id ${report.id}`].join("\n")}
      />
    </SpaceBetween>
  );
}

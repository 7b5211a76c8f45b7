import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Table from "@cloudscape-design/components/table";
import { useAct } from "../act";
import { api, type RevocationList } from "../api";
import { usePoll, type Loaded } from "../load";
import { useNotify } from "../notifications";
import { useMay } from "../permissions";
import { bytes, count, time } from "../text";
import { Empty } from "./empty";
import { Failure } from "./failure";
import { LoadFailure } from "./loading";

const publish = "pcaaudit:PublishCRL";

type Props = { arn: string; of: Loaded<{ crls: RevocationList[] }> };

/** The CRLs of a CA as they are now, and a way to have them made at once. */
export function RevocationLists({ arn, of: page }: Props) {
  const may = useMay(arn, [publish]);
  const notify = useNotify();
  const { running, error, run } = useAct();
  const lists = page.data?.crls ?? [];
  usePoll(lists.some(isComing), 2000, async () => page.reload());

  const now = () =>
    void run(async () => {
      try {
        await api.publishCrls(arn);
        notify("success", "The CRLs are made and written");
      } finally {
        page.reload();
      }
    });
  return (
    <SpaceBetween size="m">
      {page.error && <LoadFailure of={page} what="CRLs" />}
      <Failure error={error} header="Not every CRL was made and written" />
      {!error &&
        lists.map(
          (l) =>
            l.failure && (
              <Alert key={l.id} type="error" header={`The CRL ${l.key} could not be made or written`}>
                {l.failure} It is tried again every 15 minutes; <b>Publish now</b> tries at once.
              </Alert>
            ),
        )}
      <Table<RevocationList>
        ariaLabels={{ tableLabel: "CRLs" }}
        items={lists}
        trackBy={(l) => String(l.id)}
        loading={page.loading && !page.data}
        loadingText="Reading the state of the CRLs"
        wrapLines
        header={
          <Header
            variant="h2"
            counter={`(${lists.length})`}
            description="What relying parties fetch from the bucket, signed by the private CA. Each is an entry of the log."
            actions={
              <SpaceBetween direction="horizontal" size="xs">
                <Button iconName="refresh" ariaLabel="Read the state of the CRLs again" loading={page.loading} onClick={page.reload} />
                <Button loading={running} loadingText="The CRLs are made" disabled={may(publish) !== ""} disabledReason={may(publish) || undefined} onClick={now}>
                  Publish now
                </Button>
              </SpaceBetween>
            }
          >
            CRLs
          </Header>
        }
        empty={
          page.error ? null : (
            <Empty title="No CRLs">The first is made with the first certificate that refers to it.</Empty>
          )
        }
        columnDefinitions={[
          {
            id: "uri",
            header: "CRL",
            isRowHeader: true,
            minWidth: 280,
            cell: (l) =>
              l.number ? (
                <Link href={l.uri} external externalIconAriaLabel="Opens the CRL">
                  <span className="value">{l.uri}</span>
                </Link>
              ) : (
                <span className="value">{l.uri}</span>
              ),
          },
          { id: "state", header: "State", minWidth: 275, cell: (l) => <State of={l} /> },
          {
            id: "entries",
            header: "Entries",
            minWidth: 110,
            cell: (l) => `${count(l.entries ?? null)}${l.delta ? `, and ${count(l.delta.entries)} in its delta` : ""}`,
          },
          { id: "this", header: "This update", minWidth: 205, cell: (l) => time(l.thisUpdate) },
          { id: "next", header: "Next update", minWidth: 205, cell: (l) => time(l.nextUpdate) },
          { id: "number", header: "Number", minWidth: 140, cell: (l) => l.number ?? "–" },
          { id: "size", header: "Size", minWidth: 90, cell: (l) => (l.bytes === undefined ? "–" : bytes(l.bytes)) },
          { id: "kind", header: "Certificates", minWidth: 160, cell: (l) => `${l.partitioned ? `${count(l.certificates)} of a partition` : "All"}${l.active && !l.open ? ", closed" : ""}` },
          { id: "due", header: "Made again", minWidth: 205, cell: (l) => (l.active ? time(l.due) : "–") },
        ]}
      />
    </SpaceBetween>
  );
}

/** A CRL that is on its way to its bucket, and has not failed to come there. */
const isComing = (l: RevocationList) => l.active && !l.failure && !!l.due && (!l.writtenAt || Date.parse(l.due) < Date.now() + 60_000);

function State({ of: l }: { of: RevocationList }) {
  if (l.failure) return <StatusIndicator type="error">Failed {time(l.failedAt)}</StatusIndicator>;
  if (l.replacedBy) return <StatusIndicator type="stopped">Renewed under another URL</StatusIndicator>;
  if (!l.active) return <StatusIndicator type="stopped">No longer renewed</StatusIndicator>;
  if (!l.number) return <StatusIndicator type="pending">Not made yet</StatusIndicator>;
  if (!l.writtenAt) return <StatusIndicator type="in-progress">Being written</StatusIndicator>;
  return <StatusIndicator type="success">Written {time(l.writtenAt)}</StatusIndicator>;
}

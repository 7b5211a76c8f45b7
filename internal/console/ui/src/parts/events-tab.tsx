import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import SegmentedControl from "@cloudscape-design/components/segmented-control";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { useEffect, useState } from "react";
import { api, ApiError, type LogEvent } from "../api";
import { useLoad } from "../load";
import { at } from "../routes";
import { href, useFollow } from "../shell";
import { count, time } from "../text";
import { LoadFailure } from "./loading";
import type { TabProps } from "./tab";

/** The entries of a CA's log, newest first. */
export default function EventsTab({ details }: TabProps) {
  const [kind, setKind] = useState("administrative");
  return <Entries key={kind} arn={details.authority.Arn} size={details.logSize} kind={kind} onKind={setKind} />;
}

type Props = { arn: string; size: number | null; kind: string; onKind(kind: string): void };

function Entries({ arn, size, kind, onKind }: Props) {
  const follow = useFollow();
  const [from, setFrom] = useState("");
  const page = useLoad(`${arn} ${kind} ${size} ${from}`, (signal) => api.events(arn, from, kind, signal));
  const [entries, setEntries] = useState<LogEvent[]>([]);
  useEffect(() => {
    const next = page.data?.events;
    if (!next) return;
    // The server looks for so long; it has found nothing yet.
    if (next.length === 0 && page.data?.cursor) setFrom(page.data.cursor);
    // What was there already stays; a log that grew meanwhile gives some twice.
    setEntries((old) => (from === "" ? next : [...old, ...next.filter((e) => !old.some((o) => o.index === e.index))]));
  }, [page.data, from]);
  useEffect(() => setFrom(""), [size]);

  if (page.error instanceof ApiError && page.error.code === "AccessDeniedException") return <LoadFailure of={page} what="log" />;
  return (
    <SpaceBetween size="m">
      {page.error && <LoadFailure of={page} what="log" />}
      <Table<LogEvent>
        ariaLabels={{ tableLabel: "Log" }}
        items={entries}
        trackBy={(e) => String(e.index)}
        loading={page.loading && entries.length === 0}
        loadingText="Reading the log"
        wrapLines
        empty={
          <Box textAlign="center" color="inherit">
            No entries
          </Box>
        }
        header={
          <Header
            variant="h2"
            description={`What the private CA's key has signed, with its revocations, audit reports and log keys, newest first${size === null ? "" : ` (${count(size)} entries)`}. Changes such as disabling, sharing and tagging are in the server's request log.`}
            actions={
              <SegmentedControl
                label="Kinds of entries"
                selectedId={kind}
                onChange={(e) => onKind(e.detail.selectedId)}
                options={[
                  { id: "administrative", text: "Without certificates" },
                  { id: "", text: "All" },
                ]}
              />
            }
          >
            Log
          </Header>
        }
        columnDefinitions={[
          { id: "time", header: "Time", minWidth: 205, cell: (e) => time(e.time) },
          { id: "event", header: "What happened", isRowHeader: true, minWidth: 160, cell: (e) => e.label },
          { id: "detail", header: "Details", minWidth: 220, cell: (e) => <span className="value">{e.detail || "–"}</span> },
          {
            id: "serial",
            header: "Serial number",
            minWidth: 160,
            cell: (e) =>
              e.serial && (e.type === "ISSUE" || e.type === "REVOKE") ? (
                <Link href={href(at.certificate(arn, e.serial))} onFollow={follow}>
                  <span className="value">{e.serial}</span>
                </Link>
              ) : (
                e.serial || "–"
              ),
          },
          { id: "index", header: "Entry", minWidth: 80, cell: (e) => count(e.index) },
        ]}
        footer={
          page.data?.cursor || (from !== "" && page.loading) ? (
            <Box textAlign="center">
              <Button loading={page.loading} onClick={() => page.data && setFrom(page.data.cursor)}>
                Load more
              </Button>
            </Box>
          ) : undefined
        }
      />
    </SpaceBetween>
  );
}

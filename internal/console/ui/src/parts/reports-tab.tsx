import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import Pagination from "@cloudscape-design/components/pagination";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { useEffect, useState } from "react";
import { useNavigate } from "react-router";
import { api, ApiError, type Report } from "../api";
import { useLoad, usePoll } from "../load";
import { usePages } from "../pages-by-cursor";
import { useMay } from "../permissions";
import { at } from "../routes";
import { href, useFollow } from "../shell";
import { bytes, count, time, whyNoReport } from "../text";
import { Empty } from "./empty";
import { LoadFailure } from "./loading";
import { duration, ProofStatus, ReportProgress, ReportStatus } from "./report-status";
import type { TabProps } from "./tab";

const create = "acm-pca:CreateCertificateAuthorityAuditReport";

export default function ReportsTab({ details, reload }: TabProps) {
  const arn = details.authority.Arn;
  const navigate = useNavigate();
  const follow = useFollow();
  const may = useMay(arn, [create]);
  const pages = usePages(arn);
  const page = useLoad(`${arn} ${pages.index} ${pages.cursor}`, (signal) => api.reports(arn, pages.cursor, signal));
  const [reports, setReports] = useState<Report[]>([]);
  useEffect(() => {
    setReports(page.data?.reports ?? []);
    if (page.data) pages.found(page.data.cursor);
  }, [page.data, pages.found]);

  const underWay = reports.filter((r) => r.status === "CREATING");
  usePoll(underWay.length > 0, 1000, async () => {
    try {
      const now = await Promise.all(underWay.map((r) => api.report(arn, r.id, undefined, true)));
      setReports((old) => old.map((r) => now.find((n) => n.id === r.id) ?? r));
      if (now.some((r) => r.status !== "CREATING")) reload();
    } catch {
      // The next turn tries again.
    }
  });

  const when = details.reportAllowed.at;
  // The button becomes usable by itself. Clocks differ: the server decides, and is asked again.
  useEffect(() => {
    if (!when) return;
    const timer = window.setTimeout(reload, Math.max(3000, new Date(when).getTime() - Date.now()));
    return () => window.clearTimeout(timer);
  }, [details, when, reload]);
  const hindrance = may(create) || whyNoReport(details.reportAllowed, details.authority.Status, details.lastReport);
  const generate = (
    <Button variant="primary" disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={() => navigate(at.generate(arn))}>
      Generate audit report
    </Button>
  );
  if (page.error instanceof ApiError && page.error.code === "AccessDeniedException") return <LoadFailure of={page} what="audit reports" />;
  return (
    <SpaceBetween size="m">
      {page.error && <LoadFailure of={page} what="audit reports" />}
      <Table<Report>
        header={
          <Header
            variant="h2"
            description="Each lists every certificate that was issued up to its making, newest report first."
            actions={
              <SpaceBetween direction="horizontal" size="xs">
                <Button
                  iconName="refresh"
                  ariaLabel="Read the audit reports again"
                  loading={page.loading}
                  onClick={() => {
                    page.reload();
                    reload();
                  }}
                />
                {generate}
              </SpaceBetween>
            }
          >
            Audit reports
          </Header>
        }
        items={reports}
        loading={page.loading && !page.data}
        loadingText="Reading the audit reports"
        trackBy="id"
        ariaLabels={{ tableLabel: "Audit reports" }}
        enableKeyboardNavigation
        resizableColumns
        pagination={pages.more || pages.index > 1 ? <Pagination {...pages.props} disabled={page.loading} /> : undefined}
        empty={
          page.error ? null : (
            <Empty title="No audit reports" action={generate}>
              None has been made of this private CA yet.
            </Empty>
          )
        }
        columnDefinitions={[
          {
            id: "id",
            header: "Report",
            isRowHeader: true,
            width: 320,
            cell: (r) => (
              <Link href={href(at.report(arn, r.id))} onFollow={follow}>
                {r.id}
              </Link>
            ),
          },
          { id: "status", header: "Status", width: 220, cell: (r) => (r.status === "CREATING" ? <ReportProgress report={r} small /> : <ReportStatus report={r} />) },
          { id: "format", header: "Format", width: 100, cell: (r) => r.format },
          { id: "created", header: "Created", width: 210, cell: (r) => time(r.createdAt) },
          { id: "rows", header: "Rows", width: 110, cell: (r) => (r.status === "SUCCESS" ? count(r.rows) : "–") },
          { id: "revoked", header: "Revoked", width: 110, cell: (r) => (r.status === "SUCCESS" ? count(r.revoked) : "–") },
          { id: "size", header: "Size", width: 100, cell: (r) => (r.status === "SUCCESS" ? bytes(r.bytes) : "–") },
          { id: "taken", header: "Time taken", width: 120, cell: (r) => duration(r.createdAt, r.finishedAt) },
          { id: "proof", header: "Proof", width: 230, cell: (r) => <ProofStatus report={r} /> },
          { id: "bucket", header: "S3 bucket", width: 200, cell: (r) => r.bucket },
        ]}
      />
    </SpaceBetween>
  );
}

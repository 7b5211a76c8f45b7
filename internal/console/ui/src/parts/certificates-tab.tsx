import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CollectionPreferences from "@cloudscape-design/components/collection-preferences";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import Pagination from "@cloudscape-design/components/pagination";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table, { type TableProps } from "@cloudscape-design/components/table";
import { useEffect, useState } from "react";
import { useSearchParams } from "react-router";
import { useAct } from "../act";
import { api, ApiError, type Certificate, type CertificatePage, type CertificateQuery } from "../api";
import { useLoad } from "../load";
import { usePages } from "../pages-by-cursor";
import { usePreferences } from "../preferences";
import { at } from "../routes";
import { filters, queryOf, type Filter } from "../search";
import { href, useFollow } from "../shell";
import { count, templateName, time, words } from "../text";
import { keyAlgorithmName } from "./algorithms";
import { CertificateFilters } from "./certificate-filters";
import { CertificateStatus } from "./certificate-status";
import { Empty } from "./empty";
import { Failure } from "./failure";
import { LoadFailure } from "./loading";
import type { TabProps } from "./tab";

const shown = ["serial", "subject", "status", "template", "issuedAt", "notAfter"];
const names: Record<string, string> = {
  serial: "Serial number",
  subject: "Subject",
  status: "Status",
  template: "Template",
  issuedAt: "Issued",
  notAfter: "Expires",
  notBefore: "Not before",
  keyAlgorithm: "Key algorithm",
  principal: "Requested by service",
  account: "Requested by account",
  revokedAt: "Revoked",
  revocationReason: "Revocation reason",
  index: "Log entry",
};

/**
 * One page. A search may answer with less than was asked for, even with nothing,
 * and go on from there; then it goes on for a while, longer when there is nothing to show yet.
 */
async function search(ca: string, q: CertificateQuery, limit: number, signal: AbortSignal): Promise<CertificatePage> {
  const begun = performance.now();
  const all: CertificatePage = { certificates: [], cursor: q.cursor ?? "", behind: 0 };
  do {
    const page = await api.certificates(ca, { ...q, limit: limit - all.certificates.length, cursor: all.cursor }, signal);
    all.certificates.push(...page.certificates);
    all.cursor = page.cursor;
    all.behind = page.behind;
  } while (all.cursor && all.certificates.length < limit && performance.now() - begun < (all.certificates.length ? 1000 : 5000));
  return all;
}

export default function CertificatesTab({ details }: TabProps) {
  const arn = details.authority.Arn;
  const follow = useFollow();
  const [params, setParams] = useSearchParams();
  const [preferences, setPreferences] = usePreferences("certificates", {
    pageSize: 50,
    wrapLines: false,
    contentDisplay: Object.keys(names).map((id) => ({ id, visible: shown.includes(id) })),
  });
  const limit = preferences.pageSize ?? 50;
  const query = queryOf(params);
  const asked = JSON.stringify(query);
  const pages = usePages(`${arn} ${asked} ${limit}`);
  const page = useLoad(`${arn} ${asked} ${limit} ${pages.index} ${pages.cursor}`, (signal) => search(arn, { ...query, cursor: pages.cursor }, limit, signal));
  // What was found by going on belongs to the page that it was asked for from.
  const [more, setMore] = useState<{ of: CertificatePage; result: CertificatePage }>();
  const result = more && more.of === page.data ? more.result : page.data;
  const further = useAct();
  useEffect(() => {
    if (result) pages.found(result.cursor);
  }, [result, pages.found]);
  const goOn = () =>
    further.run(async () => {
      if (!page.data || !result) return;
      const next = await search(arn, { ...query, cursor: result.cursor }, limit - result.certificates.length, new AbortController().signal);
      setMore({ of: page.data, result: { ...next, certificates: [...result.certificates, ...next.certificates] } });
    });

  const set = (changes: Partial<Record<Filter, string>>) =>
    setParams(
      (old) => {
        const next = new URLSearchParams(old);
        for (const [name, value] of Object.entries(changes)) {
          if (value) next.set(name, value);
          else next.delete(name);
        }
        return next;
      },
      { replace: true },
    );
  const clear = () => set(Object.fromEntries(filters.map((f) => [f, ""])));
  const filtered = filters.some((f) => params.get(f));
  const certificates = result?.certificates ?? [];
  const behind = result?.behind ?? 0;
  const unfinished = !page.error && !!result?.cursor && certificates.length < limit;

  const cells: Record<string, (c: Certificate) => React.ReactNode> = {
    serial: (c) => (
      <Link href={href(at.certificate(arn, c.serial))} onFollow={follow}>
        {c.serial}
      </Link>
    ),
    subject: (c) => <span title={c.subject}>{c.subject || "–"}</span>,
    status: (c) => <CertificateStatus status={c.status} />,
    template: (c) => templateName(c.template),
    issuedAt: (c) => time(c.issuedAt),
    notAfter: (c) => time(c.notAfter),
    notBefore: (c) => time(c.notBefore),
    keyAlgorithm: (c) => keyAlgorithmName(c.keyAlgorithm) || "–",
    principal: (c) => c.principal || "–",
    account: (c) => c.account,
    revokedAt: (c) => time(c.revokedAt),
    revocationReason: (c) => (c.revocationReason ? words(c.revocationReason) : "–"),
    index: (c) => count(c.index),
  };
  const widths: Record<string, number> = { serial: 380, subject: 320, status: 120, template: 260, principal: 320, account: 190, index: 120 };
  const columns = Object.keys(names).map<TableProps.ColumnDefinition<Certificate>>((id) => ({
    id,
    header: names[id],
    cell: cells[id]!,
    width: widths[id] ?? 210,
    minWidth: 90,
    isRowHeader: id === "serial",
  }));
  const failure = <Failure error={page.error ?? further.error} header="The certificates could not be searched" />;
  if (page.error instanceof ApiError && page.error.code === "AccessDeniedException") return <LoadFailure of={page} what="certificates" />;
  return (
    <SpaceBetween size="m">
      {failure}
      <Table<Certificate>
        header={
          <Header
            variant="h2"
            counter={filtered || details.issued === null ? undefined : `(${count(details.issued)})`}
            description={
              <>
                Every certificate that this private CA has issued, newest first.
                {behind > 0 &&
                  ` The search index is ${count(behind)} log ${behind === 1 ? "entry" : "entries"} behind: what happened last may not be found yet. Audit reports do not depend on it.`}
              </>
            }
            actions={<Button iconName="refresh" ariaLabel="Search again" loading={page.loading} onClick={page.reload} />}
          >
            Certificates
          </Header>
        }
        filter={<CertificateFilters params={params} set={set} clear={clear} />}
        pagination={<Pagination {...pages.props} openEnd={pages.more} disabled={page.loading || further.running} />}
        preferences={
          <CollectionPreferences
            title="Preferences"
            confirmLabel="Confirm"
            cancelLabel="Cancel"
            preferences={preferences}
            onConfirm={(e) => setPreferences(e.detail)}
            pageSizePreference={{ title: "Page size", options: [20, 50, 100].map((value) => ({ value, label: `${value} certificates` })) }}
            wrapLinesPreference={{ label: "Wrap lines", description: "Show whole subjects, on several lines" }}
            contentDisplayPreference={{ title: "Columns", options: Object.entries(names).map(([id, label]) => ({ id, label, alwaysVisible: id === "serial" })) }}
          />
        }
        items={certificates}
        trackBy="index"
        loading={page.loading && !page.data}
        loadingText="Searching the certificates"
        wrapLines={preferences.wrapLines}
        columnDefinitions={columns}
        columnDisplay={preferences.contentDisplay}
        resizableColumns
        stickyColumns={{ first: 0 }}
        enableKeyboardNavigation
        ariaLabels={{ tableLabel: "Certificates" }}
        renderAriaLive={({ firstIndex, lastIndex }) => (certificates.length ? `Certificates ${firstIndex} to ${lastIndex} of this page are shown.` : "No certificates.")}
        empty={
          page.error ? null : unfinished ? (
            <Box textAlign="center">Nothing found so far.</Box>
          ) : (
            <Empty title={filtered ? "No matches" : "No certificates"} action={filtered && <Button onClick={clear}>Clear filters</Button>}>
              {filtered ? "No certificate is like this." : "This private CA has issued none yet."}
            </Empty>
          )
        }
        footer={
          unfinished && !page.loading ? (
            <Box textAlign="center">
              <SpaceBetween size="xs">
                <Box color="text-body-secondary">The search has not come to the oldest certificates yet.</Box>
                <Button loading={further.running} loadingText="Searching" onClick={() => void goOn()}>
                  Continue searching
                </Button>
              </SpaceBetween>
            </Box>
          ) : undefined
        }
      />
    </SpaceBetween>
  );
}

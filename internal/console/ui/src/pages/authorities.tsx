import { useCollection } from "@cloudscape-design/collection-hooks";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CollectionPreferences, { type CollectionPreferencesProps } from "@cloudscape-design/components/collection-preferences";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import Pagination from "@cloudscape-design/components/pagination";
import SpaceBetween from "@cloudscape-design/components/space-between";
import TextFilter from "@cloudscape-design/components/text-filter";
import Table, { type TableProps } from "@cloudscape-design/components/table";
import { useState, type ReactNode } from "react";
import { useNavigate } from "react-router";
import { api, type OverviewRow } from "../api";
import { preload } from "../chunk";
import { useLoad } from "../load";
import { keyAlgorithmName } from "../parts/algorithms";
import { AuthorityActions } from "../parts/authority-actions";
import { AuthorityStatus } from "../parts/authority-status";
import { LoadFailure } from "../parts/loading";
import { ReportStatus } from "../parts/report-status";
import { useMay } from "../permissions";
import { at } from "../routes";
import { useSignedIn } from "../session";
import { href, useFollow, usePage } from "../shell";
import { count, day, idOf, modeName, subject, time, words } from "../text";

/** A CA as the table has it: what columns show, what is searched for, and what is sorted by. */
type Row = OverviewRow & {
  subject: string;
  id: string;
  owner: string;
  type: string;
  status: string;
  mode: string;
  key: string;
  expires: number;
  reported: number;
};

const rowOf = (o: OverviewRow): Row => ({
  ...o,
  subject: subject(o.authority.CertificateAuthorityConfiguration.Subject),
  id: idOf(o.authority.Arn),
  owner: o.authority.OwnerAccount,
  type: words(o.authority.Type),
  status: words(o.authority.Status),
  mode: modeName(o.authority.UsageMode),
  key: keyAlgorithmName(o.authority.CertificateAuthorityConfiguration.KeyAlgorithm),
  expires: o.authority.NotAfter ?? 0,
  reported: o.lastReport ? Date.parse(o.lastReport.createdAt) : 0,
});

/** What a click on a CA needs. */
const next = () => preload(() => import("./authority"), () => import("../parts/overview-tab"));

const preferencesKey = "chirograph-authorities";
const sizes = [10, 25, 50, 100];
const columns = ["subject", "id", "type", "status", "expires", "issued", "revoked", "reported", "mode", "key", "owner"] as const;
const labels: Record<(typeof columns)[number], string> = {
  subject: "Subject",
  id: "ID",
  type: "Type",
  status: "Status",
  expires: "Expires",
  issued: "Issued",
  revoked: "Revoked",
  reported: "Last report",
  mode: "Mode",
  key: "Key",
  owner: "Owner",
};

type Preferences = { pageSize: number; visible: string[]; wrapLines: boolean };

function preferences(): Preferences {
  const standard: Preferences = { pageSize: 25, visible: [...columns], wrapLines: false };
  try {
    const kept = JSON.parse(localStorage.getItem(preferencesKey) ?? "{}") as Partial<Preferences>;
    return {
      pageSize: sizes.includes(kept.pageSize ?? 0) ? kept.pageSize! : standard.pageSize,
      visible: Array.isArray(kept.visible) ? columns.filter((c) => c === "subject" || kept.visible!.includes(c)) : standard.visible,
      wrapLines: kept.wrapLines === true,
    };
  } catch {
    return standard; // somebody else wrote there
  }
}

/** The CAs of the account, and those that others share with it. */
export default function Authorities() {
  usePage([]);
  const navigate = useNavigate();
  const follow = useFollow();
  const session = useSignedIn();
  const may = useMay("*", ["acm-pca:CreateCertificateAuthority"]);
  const overview = useLoad("overview", api.overview);
  const [chosen, choose] = useState<Preferences>(preferences);
  const rows = overview.data?.authorities.map(rowOf) ?? [];
  const forbidden = may("acm-pca:CreateCertificateAuthority");
  const create = (variant: "primary" | "normal") => (
    <Button
      variant={variant}
      href={href(at.create)}
      disabled={forbidden !== ""}
      disabledReason={forbidden || undefined}
      onClick={(e) => {
        if (e.detail.ctrlKey || e.detail.metaKey || e.detail.shiftKey) return;
        e.preventDefault();
        navigate(at.create);
      }}
    >
      Create private CA
    </Button>
  );
  const { items, collectionProps, filterProps, paginationProps, filteredItemsCount, actions } = useCollection(rows, {
    filtering: {
      filteringFunction: (r, text) => {
        const all = [...columns.map((c) => r[c]), r.authority.CertificateAuthorityConfiguration.KeyAlgorithm].join("\n").toLowerCase();
        return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
      },
      empty: (
        <Empty title="No private CAs" text="A private CA issues certificates for your own servers, devices and people.">
          {create("normal")}
        </Empty>
      ),
      noMatch: (
        <Empty title="No matches" text="No private CA has all of these words.">
          <Button onClick={() => actions.setFiltering("")}>Clear filter</Button>
        </Empty>
      ),
    },
    pagination: { pageSize: chosen.pageSize },
    sorting: { defaultState: { sortingColumn: { sortingField: "subject" } } },
    selection: { trackBy: (r) => r.authority.Arn, keepSelection: true },
  });
  const chosenArn = collectionProps.selectedItems?.[0]?.authority.Arn;
  const selected = rows.find((r) => r.authority.Arn === chosenArn); // as it is now, not as it was when it was chosen

  // All fit beside the navigation at 1600 px, and those up to the last report at 1280.
  const definitions: TableProps.ColumnDefinition<Row>[] = [
    {
      id: "subject",
      header: labels.subject,
      sortingField: "subject",
      isRowHeader: true,
      width: 240,
      minWidth: 150,
      cell: (r) => (
        <span onPointerEnter={next} onFocus={next}>
          <Link href={href(at.authority(r.authority.Arn))} onFollow={follow}>
            {r.subject}
          </Link>
        </span>
      ),
    },
    { id: "id", header: labels.id, sortingField: "id", width: 105, cell: (r) => r.id },
    { id: "type", header: labels.type, sortingField: "type", width: 128, cell: (r) => r.type },
    { id: "status", header: labels.status, sortingField: "status", width: 112, cell: (r) => <AuthorityStatus status={r.authority.Status} /> },
    { id: "expires", header: labels.expires, sortingField: "expires", width: 128, cell: (r) => day(r.authority.NotAfter) },
    { id: "issued", header: labels.issued, sortingField: "issued", width: 112, cell: (r) => count(r.issued) },
    { id: "revoked", header: labels.revoked, sortingField: "revoked", width: 126, cell: (r) => count(r.revoked) },
    {
      id: "reported",
      header: labels.reported,
      sortingField: "reported",
      width: 150,
      cell: (r) => {
        if (!r.lastReport) return "–";
        if (r.lastReport.status !== "SUCCESS") return <ReportStatus report={r.lastReport} />;
        return (
          <Link href={href(at.report(r.authority.Arn, r.lastReport.id))} onFollow={follow} ariaLabel={`Report of ${time(r.lastReport.createdAt)}`}>
            {day(r.lastReport.createdAt)}
          </Link>
        );
      },
    },
    { id: "mode", header: labels.mode, sortingField: "mode", width: 160, cell: (r) => r.mode },
    { id: "key", header: labels.key, sortingField: "key", width: 125, cell: (r) => r.key },
    { id: "owner", header: labels.owner, sortingField: "owner", width: 140, cell: (r) => (r.shared ? `${r.owner} (shared)` : r.owner) },
  ];

  function keep(p: CollectionPreferencesProps.Preferences<unknown>) {
    const next: Preferences = {
      pageSize: p.pageSize ?? chosen.pageSize,
      visible: [...(p.visibleContent ?? chosen.visible)],
      wrapLines: p.wrapLines ?? false,
    };
    localStorage.setItem(preferencesKey, JSON.stringify(next));
    choose(next);
  }
  const table = (
    <Table
      {...collectionProps}
      variant="full-page"
      stickyHeader
      resizableColumns
      selectionType="single"
      columnDefinitions={definitions}
      columnDisplay={columns.map((id) => ({ id, visible: chosen.visible.includes(id) }))}
      wrapLines={chosen.wrapLines}
      items={items}
      loading={overview.loading && !overview.data}
      loadingText="Reading the private CAs"
      ariaLabels={{
        tableLabel: "Private CAs",
        selectionGroupLabel: "Choose a private CA",
        itemSelectionLabel: (_, r) => `Choose ${r.subject}`,
      }}
      empty={overview.error ? <LoadFailure of={overview} what="private CAs" /> : collectionProps.empty}
      header={
        <Header
          variant="awsui-h1-sticky"
          counter={overview.data ? `(${count(rows.length)})` : undefined}
          description={`Certificate authorities of account ${session.account}, and those that are shared with it.`}
          actions={
            <SpaceBetween direction="horizontal" size="xs">
              <Button iconName="refresh" ariaLabel="Refresh" loading={overview.loading && overview.data !== undefined} onClick={overview.reload} />
              <AuthorityActions
                authority={selected?.authority}
                reportAllowed={selected?.reportAllowed}
                lastReport={selected?.lastReport}
                shared={selected?.shared ?? false}
                onChanged={overview.reload}
              />
              {create("primary")}
            </SpaceBetween>
          }
        >
          Private CAs
        </Header>
      }
      filter={
        <TextFilter
          {...filterProps}
          filteringPlaceholder="Find by subject, ID, type, status or key"
          filteringAriaLabel="Find private CAs"
          countText={`${count(filteredItemsCount ?? 0)} ${filteredItemsCount === 1 ? "match" : "matches"}`}
        />
      }
      pagination={<Pagination {...paginationProps} />}
      preferences={
        <CollectionPreferences
          preferences={{ pageSize: chosen.pageSize, visibleContent: chosen.visible, wrapLines: chosen.wrapLines }}
          onConfirm={(e) => keep(e.detail)}
          pageSizePreference={{ options: sizes.map((n) => ({ value: n, label: `${n} private CAs` })) }}
          wrapLinesPreference={{}}
          visibleContentPreference={{
            title: "Columns",
            options: [{ label: "Private CA", options: columns.map((id) => ({ id, label: labels[id], editable: id !== "subject" })) }],
          }}
        />
      }
    />
  );
  return (
    <>
      {overview.error && overview.data && <LoadFailure of={overview} what="private CAs" />}
      {table}
    </>
  );
}

function Empty({ title, text, children }: { title: string; text: string; children: ReactNode }) {
  return (
    <Box margin={{ vertical: "xs" }} textAlign="center" color="inherit">
      <SpaceBetween size="m">
        <div>
          <b>{title}</b>
          <Box variant="p" color="inherit">
            {text}
          </Box>
        </div>
        {children}
      </SpaceBetween>
    </Box>
  );
}

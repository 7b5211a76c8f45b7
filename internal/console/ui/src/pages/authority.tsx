import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import ContentLayout from "@cloudscape-design/components/content-layout";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Tabs from "@cloudscape-design/components/tabs";
import { Suspense, useEffect, useState, type ComponentType } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { api, type Authority } from "../api";
import { useAuthorityArn } from "../authority";
import { Boundary, later } from "../chunk";
import { useLoad, usePoll } from "../load";
import { keyAlgorithmName, signingAlgorithmName } from "../parts/algorithms";
import { AuthorityActions } from "../parts/authority-actions";
import { AuthorityStatus } from "../parts/authority-status";
import { Copyable } from "../parts/code";
import { Loading, LoadFailure } from "../parts/loading";
import type { TabProps } from "../parts/tab";
import { useMay } from "../permissions";
import { at } from "../routes";
import { useSignedIn } from "../session";
import { usePage } from "../shell";
import { count, idOf, modeName, subject, time, words } from "../text";

const tabs: { id: string; label: string; Content: ComponentType<TabProps> }[] = [
  { id: "overview", label: "Overview", Content: later(() => import("../parts/overview-tab")) },
  { id: "certificate", label: "CA certificate", Content: later(() => import("../parts/certificate-tab")) },
  { id: "certificates", label: "Certificates", Content: later(() => import("../parts/certificates-tab")) },
  { id: "reports", label: "Audit reports", Content: later(() => import("../parts/reports-tab")) },
  { id: "statistics", label: "Statistics", Content: later(() => import("../parts/statistics-tab")) },
  { id: "revocation", label: "Revocation", Content: later(() => import("../parts/revocation-tab")) },
  { id: "sharing", label: "Sharing", Content: later(() => import("../parts/sharing-tab")) },
  { id: "tags", label: "Tags", Content: later(() => import("../parts/tags-tab")) },
  { id: "events", label: "Log", Content: later(() => import("../parts/events-tab")) },
];

/** A CA, with everything that belongs to it. */
export default function AuthorityDetails() {
  const arn = useAuthorityArn();
  const session = useSignedIn();
  const details = useLoad(arn, (signal) => api.authority(arn, signal));
  const authority = details.data?.authority;
  const name = authority ? subject(authority.CertificateAuthorityConfiguration.Subject) : idOf(arn);
  usePage([{ text: name, href: at.authority(arn) }]);
  usePoll(authority?.Status === "CREATING", 1000, async () => details.reload());

  return (
    <ContentLayout
      header={
        <Header
          variant="h1"
          actions={
            <SpaceBetween direction="horizontal" size="xs">
              <Button iconName="refresh" ariaLabel="Refresh" loading={details.loading && !!details.data} onClick={details.reload} />
              <AuthorityActions
                authority={authority}
                reportAllowed={details.data?.reportAllowed}
                lastReport={details.data?.lastReport}
                shared={!!authority && authority.OwnerAccount !== session.account}
                onChanged={details.reload}
              />
            </SpaceBetween>
          }
        >
          {name}
        </Header>
      }
    >
      <Loading of={details} what="private CA">
        {(data) => (
          <SpaceBetween size="l">
            {details.error && <LoadFailure of={details} what="private CA" />}
            <Advice details={data} />
            <Facts details={data} shared={data.authority.OwnerAccount !== session.account} />
            <Parts details={data} reload={details.reload} />
          </SpaceBetween>
        )}
      </Loading>
    </ContentLayout>
  );
}

/** What stands out about a CA, and what to do about it. */
function Advice({ details: { authority } }: { details: Authority }) {
  const navigate = useNavigate();
  const { Arn: arn, NotAfter: end } = authority;
  const actions = ["acm-pca:GetCertificateAuthorityCsr", "acm-pca:ImportCertificateAuthorityCertificate"];
  const may = useMay(arn, actions);
  const forbidden = actions.map(may).find((reason) => reason);
  const install = (text: string) => (
    <Button disabled={!!forbidden} disabledReason={forbidden} onClick={() => navigate(at.install(arn))}>
      {text}
    </Button>
  );
  switch (authority.Status) {
    case "PENDING_CERTIFICATE":
      return (
        <Alert type="info" header="A CA certificate is needed" action={install("Install CA certificate")}>
          The private CA issues certificates as soon as its own is installed.
        </Alert>
      );
    case "EXPIRED":
      return (
        <Alert type="error" header={`The CA certificate expired ${time(end)}`} action={install("Renew CA certificate")}>
          The private CA issues no certificates until a new one is installed. Audit reports can be generated.
        </Alert>
      );
    case "DELETED":
      return (
        <Alert type="warning" header="The private CA is deleted">
          It can be restored until {time(authority.RestorableUntil)}, with Actions, Restore. Then its private key is destroyed.
        </Alert>
      );
    case "FAILED":
      return (
        <Alert type="error" header="The private CA has failed">
          {authority.FailureReason ? `The reason is: ${words(authority.FailureReason)}. ` : ""}Delete it, and create another.
        </Alert>
      );
    case "DISABLED":
      return (
        <Alert type="info" header="The private CA is disabled">
          It issues no certificates until it is enabled, with Actions, Enable.
        </Alert>
      );
  }
  const days = end === undefined ? Infinity : Math.floor((end * 1000 - Date.now()) / 86_400_000);
  if (days > 30) return null;
  return (
    <Alert
      type="warning"
      header={days < 1 ? "The CA certificate expires within a day" : `The CA certificate expires in ${count(days)} ${days === 1 ? "day" : "days"}`}
      action={install("Renew CA certificate")}
    >
      It expires {time(end)}. No certificate that the private CA issues may outlast it.
    </Alert>
  );
}

function Facts({ details: { authority, certificate }, shared }: { details: Authority; shared: boolean }) {
  const configuration = authority.CertificateAuthorityConfiguration;
  // Open, it leaves the other tabs little room; there it is opened by whoever wants it.
  const overview = useTab()[0] === "overview";
  const [open, setOpen] = useState(overview);
  useEffect(() => setOpen(overview), [overview]);
  return (
    <ExpandableSection variant="container" headerText="General" headingTagOverride="h2" expanded={open} onChange={(e) => setOpen(e.detail.expanded)}>
      <SpaceBetween size="l">
        <KeyValuePairs
          columns={4}
          items={[
            { label: "Status", value: <AuthorityStatus status={authority.Status} /> },
            { label: "Type", value: words(authority.Type) },
            { label: "Mode", value: modeName(authority.UsageMode) },
            { label: "Owner account", value: shared ? `${authority.OwnerAccount} (shared with you)` : authority.OwnerAccount },
            { label: "Key algorithm", value: keyAlgorithmName(configuration.KeyAlgorithm) },
            { label: "Signing algorithm", value: signingAlgorithmName(configuration.SigningAlgorithm) },
            { label: "Created", value: time(authority.CreatedAt) },
            { label: "Expires", value: time(authority.NotAfter) },
            { label: "ID", value: <Copyable label="ID" text={idOf(authority.Arn)} /> },
            { label: "Serial number", value: certificate ? <Copyable label="serial number" text={certificate.serial} /> : "–" },
            { label: "Last change of status", value: time(authority.LastStateChangeAt) },
          ]}
        />
        <KeyValuePairs columns={1} items={[{ label: "ARN", value: <Copyable label="ARN" text={authority.Arn} /> }]} />
      </SpaceBetween>
    </ExpandableSection>
  );
}

/** The tab that the address names. */
function useTab() {
  const [query, setQuery] = useSearchParams();
  const asked = query.get("tab") ?? "";
  return [tabs.some((t) => t.id === asked) ? asked : "overview", setQuery] as const;
}

function Parts(props: TabProps) {
  const [active, setQuery] = useTab();
  return (
    <Tabs
      ariaLabel="Parts of the private CA"
      activeTabId={active}
      onChange={(e) => setQuery({ tab: e.detail.activeTabId }, { replace: true })}
      tabs={tabs.map(({ id, label, Content }) => ({
        id,
        label,
        content: (
          <Boundary key={id}>
            <Suspense fallback={<StatusIndicator type="loading">Loading</StatusIndicator>}>
              <Content {...props} />
            </Suspense>
          </Boundary>
        ),
      }))}
    />
  );
}

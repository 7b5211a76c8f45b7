import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ContentLayout from "@cloudscape-design/components/content-layout";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState } from "react";
import { useParams } from "react-router";
import { api, type Authority, type Certificate, type CertificateDetails } from "../api";
import { useAuthorityArn } from "../authority";
import { useLoad } from "../load";
import { keyAlgorithmName } from "../parts/algorithms";
import { CertificateStatus } from "../parts/certificate-status";
import { Copyable } from "../parts/code";
import { DecodedCertificate, Pem, save } from "../parts/decoded";
import { Loading } from "../parts/loading";
import { Revoke } from "../parts/revoke";
import { useMay } from "../permissions";
import { at } from "../routes";
import { usePage } from "../shell";
import { count, subject, templateName, time, words } from "../text";

const revoke = "acm-pca:RevokeCertificate";

export default function CertificatePage() {
  const arn = useAuthorityArn();
  const serial = useParams().serial ?? "";
  const certificate = useLoad(`${arn} ${serial}`, (signal) => api.certificate(arn, serial, signal));
  const authority = useLoad(arn, (signal) => api.authority(arn, signal));
  usePage([
    { text: authority.data ? subject(authority.data.authority.CertificateAuthorityConfiguration.Subject) : "Private CA", href: at.authority(arn) },
    { text: "Certificates", href: at.authority(arn, "certificates") },
    { text: serial, href: at.certificate(arn, serial) },
  ]);
  return (
    <Loading of={certificate} what="certificate">
      {(details) => <Page arn={arn} details={details} authority={authority.data} reload={certificate.reload} />}
    </Loading>
  );
}

/** Why a certificate cannot be revoked; "" when it can. */
function obstacle(c: Certificate, authority: Authority | undefined): string {
  if (c.status === "REVOKED") return "It is revoked already. The first revocation stands.";
  if (c.status === "EXPIRED") return "It has expired, and an expired certificate cannot be revoked.";
  if (templateName(c.template).startsWith("RootCACertificate/")) return "It is the CA's own self-signed certificate: a root is taken out of trust stores, not revoked.";
  const status = authority?.authority.Status;
  if (status && status !== "ACTIVE" && status !== "DISABLED") return `The private CA's status is ${words(status)}. Certificates are revoked while it is active or disabled.`;
  return "";
}

function Page({ arn, details, authority, reload }: { arn: string; details: CertificateDetails; authority: Authority | undefined; reload(): void }) {
  const { certificate: c, decoded, pem, chainPem } = details;
  const may = useMay(arn, [revoke]);
  const [asking, setAsking] = useState(false);
  const hindrance = obstacle(c, authority) || may(revoke);
  const file = c.serial.replaceAll(":", "");
  return (
    <ContentLayout
      header={
        <Header
          variant="h1"
          description={<span className="value">{c.serial}</span>}
          actions={
            <SpaceBetween direction="horizontal" size="xs">
              <Button iconName="download" onClick={() => save(pem, `${file}.pem`)}>
                Download certificate
              </Button>
              <Button disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={() => setAsking(true)}>
                Revoke
              </Button>
            </SpaceBetween>
          }
        >
          Certificate
        </Header>
      }
    >
      <SpaceBetween size="l">
        <Container header={<Header variant="h2">In the log</Header>}>
          <SpaceBetween size="l">
            <KeyValuePairs
              columns={4}
              items={[
                { label: "Status", value: <CertificateStatus status={c.status} /> },
                { label: "Issued", value: time(c.issuedAt) },
                { label: "Not before", value: time(c.notBefore) },
                { label: "Expires", value: time(c.notAfter) },
                { label: "Template", value: <span className="value">{templateName(c.template)}</span> },
                { label: "Key algorithm", value: keyAlgorithmName(c.keyAlgorithm) || "–" },
                { label: "Requested by account", value: c.account || "–" },
                ...(c.principal ? [{ label: "Requested by service", value: c.principal }] : []),
                { label: "Log entry", value: count(c.index) },
                ...(c.status === "REVOKED"
                  ? [
                      { label: "Revoked", value: time(c.revokedAt) },
                      { label: "Revocation reason", value: words(c.revocationReason ?? "UNSPECIFIED") },
                    ]
                  : []),
              ]}
            />
            <KeyValuePairs
              columns={1}
              items={[
                { label: "Subject", value: c.subject ? <Copyable label="subject" text={c.subject} /> : "–" },
                { label: "Certificate ARN", value: <Copyable label="ARN" text={c.arn} /> },
              ]}
            />
          </SpaceBetween>
        </Container>
        <Container header={<Header variant="h2">Certificate</Header>}>
          <DecodedCertificate decoded={decoded} file={`${file}.pem`} />
        </Container>
        {chainPem && (
          <ExpandableSection variant="container" headerText="Certificate chain" headerDescription="The private CA's certificate, and those above it.">
            <Pem text={chainPem} file={`${file}-chain.pem`} label="chain" />
          </ExpandableSection>
        )}
      </SpaceBetween>
      {asking && <Revoke ca={arn} certificate={c} onClose={() => setAsking(false)} onRevoked={reload} />}
    </ContentLayout>
  );
}

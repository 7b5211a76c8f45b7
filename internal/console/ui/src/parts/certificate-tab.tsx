import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Header from "@cloudscape-design/components/header";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { call } from "../api";
import { useLoad } from "../load";
import { useMay } from "../permissions";
import { count, idOf } from "../text";
import { DecodedCertificate, Pem, save } from "./decoded";
import { Loading } from "./loading";
import type { TabProps } from "./tab";

/** The CA's certificate and those above it; its request while there is none. */
export default function CertificateTab({ details }: TabProps) {
  const { authority, certificate, chain } = details;
  const id = idOf(authority.Arn);
  if (!certificate) return authority.Status === "PENDING_CERTIFICATE" ? <Request arn={authority.Arn} /> : <>The private CA has no certificate.</>;
  return (
    <SpaceBetween size="l">
      <Container header={<Header variant="h2">CA certificate</Header>}>
        <DecodedCertificate decoded={certificate} file={`${id}.pem`} />
      </Container>
      {chain.length > 0 && (
        <Container
          header={
            <Header
              variant="h2"
              counter={`(${count(chain.length)})`}
              description="The certificates above it, up to the root."
              actions={
                <Button iconName="download" onClick={() => save(chain.map((c) => c.pem.trimEnd() + "\n").join(""), `${id}-chain.pem`)}>
                  Download chain
                </Button>
              }
            >
              Certificate chain
            </Header>
          }
        >
          <SpaceBetween size="s">
            {chain.map((c, i) => (
              <ExpandableSection key={c.sha256} headerText={c.subject} headingTagOverride="h3">
                <DecodedCertificate decoded={c} file={`${id}-chain-${i + 1}.pem`} />
              </ExpandableSection>
            ))}
          </SpaceBetween>
        </Container>
      )}
    </SpaceBetween>
  );
}

function Request({ arn }: { arn: string }) {
  const may = useMay(arn, ["acm-pca:GetCertificateAuthorityCsr"]);
  const forbidden = may("acm-pca:GetCertificateAuthorityCsr");
  const csr = useLoad(arn, (signal) => call<{ Csr: string }>("GetCertificateAuthorityCsr", { CertificateAuthorityArn: arn }, signal));
  return (
    <Container header={<Header variant="h2" description="Have it signed, and install the certificate with Actions, Install CA certificate.">Certificate signing request</Header>}>
      {forbidden || (
        <Loading of={csr} what="certificate signing request">
          {({ Csr }) => <Pem text={Csr} file={`${idOf(arn)}.csr`} label="CSR" />}
        </Loading>
      )}
    </Container>
  );
}

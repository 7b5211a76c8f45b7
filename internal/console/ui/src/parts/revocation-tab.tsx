import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import { useState } from "react";
import { focusFirstError, useAct } from "../act";
import { api, call } from "../api";
import { useLoad } from "../load";
import { useNotify } from "../notifications";
import { useMay } from "../permissions";
import { words } from "../text";
import { useEditing } from "./editing";
import { Failure } from "./failure";
import { RevocationLists } from "./revocation-lists";
import { checkRevocation, RevocationForm, revocationInput, revocationOf } from "./revocation-form";
import { SaveCancel } from "./save-cancel";
import type { TabProps } from "./tab";

const update = "acm-pca:UpdateCertificateAuthority";

export default function RevocationTab({ details, reload }: TabProps) {
  const { authority } = details;
  const may = useMay(authority.Arn, [update]);
  const [editing, setEditing] = useEditing();
  const status = authority.Status === "ACTIVE" || authority.Status === "DISABLED" ? "" : `The status is ${words(authority.Status)}; revocation is updated while it is active or disabled.`;
  const hindrance = status || may(update);
  const crls = useLoad(`${authority.Arn} ${JSON.stringify(authority.RevocationConfiguration)}`, (signal) => api.crls(authority.Arn, signal));
  if (editing && !hindrance) return <Edit details={details} reload={reload} onClose={() => setEditing(false)} />;

  const crl = authority.RevocationConfiguration?.CrlConfiguration;
  const ocsp = authority.RevocationConfiguration?.OcspConfiguration;
  const state = (on: boolean | undefined) => <StatusIndicator type={on ? "success" : "stopped"}>{on ? "On" : "Off"}</StatusIndicator>;
  return (
    <SpaceBetween size="l">
      <Container
        header={
          <Header
            variant="h2"
            description="How the CA tells which of its certificates are revoked."
            actions={
              <Button disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={() => setEditing(true)}>
                Edit
              </Button>
            }
          >
            Certificate revocation
          </Header>
        }
      >
        <KeyValuePairs
          columns={3}
          items={[
            { label: "CRL distribution", value: state(crl?.Enabled) },
            { label: "OCSP", value: state(ocsp?.Enabled) },
            ...(crl?.Enabled
              ? [
                  { label: "S3 bucket", value: crl.S3BucketName },
                  { label: "CRL type", value: words(crl.CrlType ?? "COMPLETE") },
                  { label: "CRL expiration", value: `${crl.ExpirationInDays} days` },
                  { label: "Custom CRL name", value: crl.CustomCname ?? "–" },
                  { label: "Custom path", value: crl.CustomPath ?? "–" },
                  { label: "CDP extension", value: crl.CrlDistributionPointExtensionConfiguration?.OmitExtension ? "Omitted" : "Included" },
                ]
              : []),
            ...(ocsp?.Enabled
              ? [{ label: "OCSP responder", value: <span className="value">{ocsp.OcspCustomCname ? `http://${ocsp.OcspCustomCname}` : (crls.data?.ocspUrl ?? "–")}</span> }]
              : []),
          ]}
        />
      </Container>
      {(crl?.Enabled || !!crls.data?.crls.length) && <RevocationLists arn={authority.Arn} of={crls} />}
    </SpaceBetween>
  );
}

function Edit({ details: { authority }, reload, onClose }: TabProps & { onClose(): void }) {
  const notify = useNotify();
  const { running, error, run } = useAct();
  const [value, setValue] = useState(() => revocationInput(authority.RevocationConfiguration));
  const [asked, setAsked] = useState(false);
  const wrong = checkRevocation(value);

  function save() {
    setAsked(true);
    if (Object.keys(wrong).length > 0) return focusFirstError();
    void run(async () => {
      await call("UpdateCertificateAuthority", { CertificateAuthorityArn: authority.Arn, RevocationConfiguration: revocationOf(value) });
      notify("success", "The revocation configuration is updated", "It counts for certificates that are issued from now on.");
      reload();
      onClose();
    });
  }
  return (
    <Container header={<Header variant="h2">Update certificate revocation</Header>} footer={<SaveCancel running={running} onSave={save} onCancel={onClose} />}>
      <SpaceBetween size="l">
        <RevocationForm value={value} errors={asked ? wrong : {}} onChange={setValue} />
        <Failure error={error} header="The revocation configuration was not updated" />
      </SpaceBetween>
    </Container>
  );
}

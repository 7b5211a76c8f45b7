import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import FormField from "@cloudscape-design/components/form-field";
import Select from "@cloudscape-design/components/select";
import { useState } from "react";
import { call, type Certificate } from "../api";
import { useNotify } from "../notifications";
import { words } from "../text";
import { Confirm } from "./confirm";

const reasons: [string, string][] = [
  ["UNSPECIFIED", "No reason is given."],
  ["KEY_COMPROMISE", "The certificate's private key is, or may be, in somebody else's hands."],
  ["CERTIFICATE_AUTHORITY_COMPROMISE", "The key of the CA that the certificate is for is, or may be, in somebody else's hands."],
  ["AFFILIATION_CHANGED", "The subject's name or organization is no longer what the certificate says."],
  ["SUPERSEDED", "Another certificate has taken its place."],
  ["CESSATION_OF_OPERATION", "What the certificate was for is no longer run."],
  ["PRIVILEGE_WITHDRAWN", "The subject may no longer do what the certificate lets it do."],
  ["A_A_COMPROMISE", "The key of an attribute authority is, or may be, in somebody else's hands."],
];
const options = reasons.map(([value, description]) => ({ value, label: words(value), description }));

/** Revokes a certificate, after the reason was chosen and the word typed. */
export function Revoke({ ca, certificate, onClose, onRevoked }: { ca: string; certificate: Certificate; onClose(): void; onRevoked(): void }) {
  const notify = useNotify();
  const [reason, setReason] = useState<string>();
  return (
    <Confirm
      header="Revoke certificate"
      verb="Revoke"
      typed="revoke"
      hindrance={reason ? "" : "Choose a reason first."}
      onClose={onClose}
      act={async () => {
        await call("RevokeCertificate", { CertificateAuthorityArn: ca, CertificateSerial: certificate.serial, RevocationReason: reason });
        notify("success", "The certificate is revoked", certificate.serial);
        onRevoked();
      }}
    >
      <Alert type="warning">A revocation cannot be taken back. Every audit report that is generated from now on lists it.</Alert>
      <Box>
        <div className="value">
          <strong>{certificate.subject || "(empty subject)"}</strong>
        </div>
        <div className="value">{certificate.serial}</div>
      </Box>
      <FormField label="Reason">
        <Select
          placeholder="Choose a reason"
          options={options}
          selectedOption={options.find((o) => o.value === reason) ?? null}
          onChange={(e) => setReason(e.detail.selectedOption.value)}
          ariaRequired
        />
      </FormField>
    </Confirm>
  );
}

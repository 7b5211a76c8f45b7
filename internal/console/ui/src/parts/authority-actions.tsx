import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import ButtonDropdown, { type ButtonDropdownProps } from "@cloudscape-design/components/button-dropdown";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState } from "react";
import { useNavigate } from "react-router";
import { call, type CertificateAuthority, type Report, type ReportAllowed, type Status } from "../api";
import { useNotify } from "../notifications";
import { useMay } from "../permissions";
import { at } from "../routes";
import { count, subject, whyNoReport, words } from "../text";
import { Confirm } from "./confirm";

type Props = {
  /** undefined: none is chosen, and nothing can be done. */
  authority: CertificateAuthority | undefined;
  reportAllowed: ReportAllowed | undefined;
  lastReport: Report | null | undefined;
  /** The CA belongs to another account, which shares it. */
  shared: boolean;
  onChanged(): void;
};

const create = "acm-pca:CreateCertificateAuthorityAuditReport";
const csr = "acm-pca:GetCertificateAuthorityCsr";
const install = "acm-pca:ImportCertificateAuthorityCertificate";
const update = "acm-pca:UpdateCertificateAuthority";
const tag = "acm-pca:TagCertificateAuthority";
const untag = "acm-pca:UntagCertificateAuthority";
const remove = "acm-pca:DeleteCertificateAuthority";
const restore = "acm-pca:RestoreCertificateAuthority";

type Dialog = "enable" | "disable" | "delete" | "restore";

/** What can be done with a CA; what cannot be done now is there, with the reason. */
export function AuthorityActions({ authority, reportAllowed, lastReport, shared, onChanged }: Props) {
  const navigate = useNavigate();
  const may = useMay(authority?.Arn ?? "", [create, csr, install, update, tag, untag, remove, restore]);
  const [dialog, setDialog] = useState<Dialog>();
  const status = authority?.Status;
  const foreign = shared ? "The private CA belongs to another account; only its owner can do this." : "";

  /** The first thing that stands in the way: whose it is, its status, a right. */
  const item = (id: string, text: string, obstacle: string, ...actions: string[]): ButtonDropdownProps.Item => {
    const reason = foreign || obstacle || actions.map(may).find((r) => r) || "";
    return { id, text, disabled: reason !== "", disabledReason: reason || undefined };
  };
  const only = (possible: Status[], what: string) =>
    status && possible.includes(status) ? "" : `The status is ${words(status ?? "")}; ${what}`;
  const report = reportAllowed ? whyNoReport(reportAllowed, status, lastReport) : "";

  const items: ButtonDropdownProps.Items = [
    item("report", "Generate audit report", report, create),
    item(
      "install",
      status === "ACTIVE" || status === "EXPIRED" ? "Renew CA certificate" : "Install CA certificate",
      only(["PENDING_CERTIFICATE", "ACTIVE", "EXPIRED"], status === "DISABLED" ? "enable it first." : "a certificate cannot be installed now."),
      csr,
      install,
    ),
    {
      text: "Change",
      items: [
        item("enable", "Enable", only(["DISABLED"], status === "EXPIRED" ? "renew its certificate first." : "only disabled ones are enabled."), update),
        item("disable", "Disable", only(["ACTIVE"], "only active ones are disabled."), update),
        item("revocation", "Update revocation...", only(["ACTIVE", "DISABLED"], "revocation is updated while it is active or disabled."), update),
        item("tags", "Manage tags", status === "DELETED" ? "The status is Deleted; restore it first." : "", tag, untag),
      ],
    },
    {
      text: "Delete and restore",
      items: [
        item(
          "delete",
          "Delete",
          status === "ACTIVE" ? "The status is Active; disable it first." : status === "DELETED" ? "It is deleted already." : "",
          remove,
        ),
        item("restore", "Restore", only(["DELETED"], "only deleted ones are restored."), restore),
      ],
    },
  ];

  function choose(id: string) {
    const arn = authority!.Arn;
    switch (id) {
      case "report":
        return void navigate(at.generate(arn));
      case "install":
        return void navigate(at.install(arn));
      case "revocation":
        return void navigate(at.authority(arn, "revocation"), { state: { edit: true } });
      case "tags":
        return void navigate(at.authority(arn, "tags"), { state: { edit: true } });
      default:
        setDialog(id as Dialog);
    }
  }
  return (
    <>
      <ButtonDropdown
        items={items}
        disabled={!authority}
        disabledReason={authority ? undefined : "Choose a private CA first."}
        onItemClick={(e) => choose(e.detail.id)}
        expandableGroups={false}
      >
        Actions
      </ButtonDropdown>
      {dialog && authority && <Ask dialog={dialog} authority={authority} onClose={() => setDialog(undefined)} onChanged={onChanged} />}
    </>
  );
}

type AskProps = { dialog: Dialog; authority: CertificateAuthority; onClose(): void; onChanged(): void };

function Ask({ dialog, authority, onClose, onChanged }: AskProps) {
  const notify = useNotify();
  const [days, setDays] = useState("30");
  const arn = authority.Arn;
  const name = subject(authority.CertificateAuthorityConfiguration.Subject);
  const done = (what: string) => {
    notify("success", what, name);
    onChanged();
  };
  const who = (
    <Box>
      <Box fontWeight="bold">{name}</Box>
      <Box color="text-body-secondary" fontSize="body-s">
        {arn}
      </Box>
    </Box>
  );
  switch (dialog) {
    case "enable":
    case "disable": {
      const on = dialog === "enable";
      return (
        <Confirm
          header={on ? "Enable private CA" : "Disable private CA"}
          verb={on ? "Enable" : "Disable"}
          onClose={onClose}
          act={async () => {
            await call("UpdateCertificateAuthority", { CertificateAuthorityArn: arn, Status: on ? "ACTIVE" : "DISABLED" });
            done(on ? "The private CA is active" : "The private CA is disabled");
          }}
        >
          {who}
          <Box>
            {on
              ? "It issues certificates again, at once."
              : "It issues no certificates until it is enabled again. Certificates that it issued stay valid; they can still be read and revoked, and audit reports can be generated."}
          </Box>
        </Confirm>
      );
    }
    case "restore":
      return (
        <Confirm
          header="Restore private CA"
          verb="Restore"
          onClose={onClose}
          act={async () => {
            await call("RestoreCertificateAuthority", { CertificateAuthorityArn: arn });
            done("The private CA is restored");
          }}
        >
          {who}
          <Box>It gets back the status that it had before it was deleted. One that was disabled issues no certificates until it is enabled.</Box>
        </Confirm>
      );
    case "delete": {
      const period = /^\d+$/.test(days) ? Number(days) : NaN;
      const final = authority.Status === "CREATING" || authority.Status === "FAILED";
      const wrong = final || (period >= 7 && period <= 30) ? "" : "Give a number of days from 7 to 30.";
      return (
        <Confirm
          header="Delete private CA"
          verb="Delete"
          typed="delete"
          hindrance={wrong}
          onClose={onClose}
          act={async () => {
            await call("DeleteCertificateAuthority", { CertificateAuthorityArn: arn, ...(final ? {} : { PermanentDeletionTimeInDays: period }) });
            done(final ? "The private CA is deleted for good" : `The private CA is deleted; it can be restored for ${count(period)} days`);
          }}
        >
          {who}
          {final ? (
            <Alert type="warning">It never had a certificate, so it is gone at once and cannot be restored.</Alert>
          ) : (
            <SpaceBetween size="m">
              <FormField label="Restoration period (days)" description="From 7 to 30. Until it ends, the private CA can be restored." errorText={wrong || undefined}>
                <Input type="number" inputMode="numeric" value={days} onChange={(e) => setDays(e.detail.value)} />
              </FormField>
              <Alert type="warning">
                While it is deleted it issues and revokes nothing, and no audit report can be generated: if you need one more, generate it first. Then its private
                key is destroyed, for good. Certificates that it issued are not revoked. Its log and its reports stay where they are, for audits.
              </Alert>
            </SpaceBetween>
          )}
        </Confirm>
      );
    }
  }
}

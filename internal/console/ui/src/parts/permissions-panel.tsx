import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { useState } from "react";
import { call } from "../api";
import { useLoad } from "../load";
import { useNotify } from "../notifications";
import type { Reasons } from "../permissions";
import { accountOf, time } from "../text";
import { Confirm } from "./confirm";
import { Empty } from "./empty";
import { LoadFailure } from "./loading";

type Permission = { Principal: string; SourceAccount?: string; Actions: string[]; CreatedAt: number };

const actions = ["IssueCertificate", "GetCertificate", "ListPermissions"];

export const createPermission = "acm-pca:CreatePermission";
export const deletePermission = "acm-pca:DeletePermission";

/** What services may do with a CA in the owner's name; at AWS that is ACM, for its renewals. */
export function PermissionsPanel({ arn, may }: { arn: string; may: Reasons }) {
  const notify = useNotify();
  const [creating, setCreating] = useState(false);
  const [removed, setRemoved] = useState<Permission>();
  const list = useLoad(`permissions of ${arn}`, async (signal) => {
    const all: Permission[] = [];
    for (let token: string | undefined; ; ) {
      const page = await call<{ Permissions?: Permission[]; NextToken?: string }>("ListPermissions", { CertificateAuthorityArn: arn, NextToken: token }, signal);
      all.push(...(page.Permissions ?? []));
      token = page.NextToken;
      if (!token) return all;
    }
  });
  if (list.error && !list.data) return <LoadFailure of={list} what="permissions" />;
  return (
    <>
      <Table
        items={list.data ?? []}
        loading={list.loading}
        loadingText="Reading the permissions"
        trackBy={(p) => `${p.Principal} ${p.SourceAccount}`}
        columnDefinitions={[
          { id: "principal", header: "Service", cell: (p) => p.Principal, isRowHeader: true },
          { id: "account", header: "Source account", cell: (p) => p.SourceAccount ?? "–" },
          { id: "actions", header: "Actions", cell: (p) => p.Actions.join(", ") },
          { id: "created", header: "Created", cell: (p) => time(p.CreatedAt) },
          {
            id: "delete",
            header: "Delete",
            cell: (p) => (
              <Button
                variant="inline-link"
                ariaLabel={`Delete the permission of ${p.Principal}`}
                disabled={may(deletePermission) !== ""}
                disabledReason={may(deletePermission) || undefined}
                onClick={() => setRemoved(p)}
              >
                Delete
              </Button>
            ),
          },
        ]}
        header={
          <Header
            variant="h2"
            counter={list.data && `(${list.data.length})`}
            description="Services that may issue and read certificates of this CA for its owner. At AWS, ACM needs one to renew certificates; here one counts for a service principal of that name."
            actions={
              <Button disabled={may(createPermission) !== ""} disabledReason={may(createPermission) || undefined} onClick={() => setCreating(true)}>
                Create permission
              </Button>
            }
          >
            Permissions
          </Header>
        }
        empty={<Empty title="No permissions">No service may use this private CA.</Empty>}
      />
      {creating && <Create arn={arn} onClose={() => setCreating(false)} onCreated={list.reload} />}
      {removed && (
        <Confirm
          header="Delete permission"
          verb="Delete"
          onClose={() => setRemoved(undefined)}
          act={async () => {
            await call("DeletePermission", { CertificateAuthorityArn: arn, Principal: removed.Principal, SourceAccount: removed.SourceAccount });
            notify("success", "The permission is deleted", removed.Principal);
            list.reload();
          }}
        >
          <Box>
            {removed.Principal} may then no longer use this CA for the account {removed.SourceAccount}.
          </Box>
        </Confirm>
      )}
    </>
  );
}

function Create({ arn, onClose, onCreated }: { arn: string; onClose(): void; onCreated(): void }) {
  const notify = useNotify();
  const [principal, setPrincipal] = useState("acm.amazonaws.com");
  const [account, setAccount] = useState("");
  const [chosen, setChosen] = useState(actions);
  const wrongAccount = account && !/^\d{12}$/.test(account.trim()) ? "Give the 12 digits of an account." : "";
  const hindrance = wrongAccount || (chosen.length === 0 ? "Choose at least one action." : "") || (principal.trim() ? "" : "Give a service.");
  return (
    <Confirm
      header="Create permission"
      verb="Create"
      hindrance={hindrance}
      onClose={onClose}
      act={async () => {
        await call("CreatePermission", {
          CertificateAuthorityArn: arn,
          Principal: principal.trim(),
          Actions: chosen,
          ...(account && { SourceAccount: account.trim() }),
        });
        notify("success", "The permission is created", principal.trim());
        onCreated();
      }}
    >
      <FormField label="Service">
        <Input value={principal} onChange={(e) => setPrincipal(e.detail.value)} autoComplete={false} spellcheck={false} />
      </FormField>
      <FormField label="Actions" errorText={chosen.length === 0 ? "Choose at least one." : undefined}>
        <SpaceBetween size="xs">
          {actions.map((a) => (
            <Checkbox key={a} checked={chosen.includes(a)} onChange={(e) => setChosen(actions.filter((b) => (b === a ? e.detail.checked : chosen.includes(b))))}>
              {a}
            </Checkbox>
          ))}
        </SpaceBetween>
      </FormField>
      <FormField label="Source account - optional" description={`Without one, the CA's own: ${accountOf(arn)}.`} errorText={wrongAccount}>
        <Input value={account} inputMode="numeric" onChange={(e) => setAccount(e.detail.value)} autoComplete={false} />
      </FormField>
    </Confirm>
  );
}

import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Checkbox from "@cloudscape-design/components/checkbox";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import Textarea from "@cloudscape-design/components/textarea";
import { useState } from "react";
import { focusFirstError, useAct } from "../act";
import { ApiError, call } from "../api";
import { useLoad } from "../load";
import { useNotify } from "../notifications";
import { useMay } from "../permissions";
import { accountOf, words } from "../text";
import { Code } from "./code";
import { Confirm } from "./confirm";
import { Empty } from "./empty";
import { Failure } from "./failure";
import { Loading } from "./loading";
import { createPermission, deletePermission, PermissionsPanel } from "./permissions-panel";
import { checkPolicy, checkShare, inWords, permissions, shareCount, shareStatements, statementsOf, withoutStatement, withStatements, type ShareInput, type Statement } from "./policy";
import { SaveCancel } from "./save-cancel";
import type { TabProps } from "./tab";

const put = "acm-pca:PutPolicy";
const remove = "acm-pca:DeletePolicy";

export default function SharingTab({ details: { authority } }: TabProps) {
  const arn = authority.Arn;
  const may = useMay(arn, [put, remove, createPermission, deletePermission]);
  if (["CREATING", "FAILED", "DELETED"].includes(authority.Status)) {
    return (
      <Alert type="info" header="The private CA cannot be shared now">
        Its status is {words(authority.Status)}.{authority.Status === "DELETED" ? " Restore it to see and change whom it is shared with." : ""}
      </Alert>
    );
  }
  return (
    <SpaceBetween size="l">
      <Policy arn={arn} putDenied={may(put)} removeDenied={may(remove)} />
      <PermissionsPanel arn={arn} may={may} />
    </SpaceBetween>
  );
}

/** The resource policy: what it grants in words, its text, and ways to change it. */
function Policy({ arn, putDenied, removeDenied }: { arn: string; putDenied: string; removeDenied: string }) {
  const notify = useNotify();
  const [doing, setDoing] = useState<"share" | "edit" | "delete" | number>();
  const policy = useLoad(`policy of ${arn}`, async (signal) => {
    try {
      return (await call<{ Policy: string }>("GetPolicy", { ResourceArn: arn }, signal)).Policy;
    } catch (e) {
      if (e instanceof ApiError && e.code === "ResourceNotFoundException") return "";
      throw e;
    }
  });
  const close = () => setDoing(undefined);

  async function write(text: string, done = "The policy is saved") {
    if (text) await call("PutPolicy", { ResourceArn: arn, Policy: text });
    else await call("DeletePolicy", { ResourceArn: arn });
    notify("success", text ? done : "The policy is deleted; the CA is shared with nobody");
    policy.reload();
  }
  return (
    <Loading of={policy} what="policy">
      {(text) => {
        if (doing === "edit") return <Edit arn={arn} text={text} write={write} onClose={close} />;
        const grants = known(text);
        const removing = typeof doing === "number" && grants ? grants[doing] : undefined;
        return (
          <SpaceBetween size="l">
            <Table
              items={grants?.map((statement, index) => ({ index, ...inWords(statement) })) ?? []}
              loading={policy.loading}
              loadingText="Reading the policy"
              trackBy={(g) => String(g.index)}
              wrapLines
              columnDefinitions={[
                { id: "who", header: "Who", cell: (g) => <Lines of={g.who} />, isRowHeader: true, minWidth: 180 },
                { id: "effect", header: "Effect", cell: (g) => (g.deny ? "Denied" : "Allowed") },
                { id: "what", header: "What", cell: (g) => <Lines of={g.what} />, minWidth: 200 },
                { id: "templates", header: "From the templates", cell: (g) => <Lines of={g.templates} />, minWidth: 180 },
                { id: "conditions", header: "Only if", cell: (g) => <Lines of={g.conditions} />, minWidth: 160 },
                {
                  id: "remove",
                  header: "Remove",
                  minWidth: 110,
                  cell: (g) => (
                    <Button
                      variant="inline-link"
                      ariaLabel={`Remove: ${g.who.join(", ")}, ${g.what.join(", ")}`}
                      disabled={putDenied !== ""}
                      disabledReason={putDenied || undefined}
                      onClick={() => setDoing(g.index)}
                    >
                      Remove
                    </Button>
                  ),
                },
              ]}
              header={
                <Header
                  variant="h2"
                  counter={grants && `(${shareCount(grants)})`}
                  description="What the resource policy lets other accounts do with this CA. Callers over there need the same of their own policies."
                  actions={
                    <SpaceBetween direction="horizontal" size="xs">
                      <Button disabled={!text || removeDenied !== ""} disabledReason={text ? removeDenied || undefined : "There is no policy."} onClick={() => setDoing("delete")}>
                        Delete policy
                      </Button>
                      <Button disabled={putDenied !== ""} disabledReason={putDenied || undefined} onClick={() => setDoing("edit")}>
                        Edit policy
                      </Button>
                      <Button
                        variant="primary"
                        disabled={putDenied !== "" || !grants}
                        disabledReason={putDenied || "The policy is not one that can be added to; edit its text."}
                        onClick={() => setDoing("share")}
                      >
                        Share
                      </Button>
                    </SpaceBetween>
                  }
                >
                  Resource shares
                </Header>
              }
              empty={<Empty title="Not shared">The CA has no resource policy: only its own account can use it.</Empty>}
            />
            {text !== "" && (
              <ExpandableSection headerText="Policy text" variant="container">
                <Code label="policy" text={pretty(text)} />
              </ExpandableSection>
            )}
            {doing === "share" && <Share arn={arn} text={text} write={write} onClose={close} />}
            {doing === "delete" && (
              <Confirm header="Delete policy" verb="Delete" onClose={close} act={() => write("")}>
                <Box>The CA is then shared with nobody. Certificates that other accounts had it issue stay valid.</Box>
              </Confirm>
            )}
            {removing && (
              <Confirm header="Remove from the policy" verb="Remove" onClose={close} act={() => write(withoutStatement(text, doing as number))}>
                <Box>
                  {inWords(removing).who.join(", ")}: {inWords(removing).what.join(", ")}.
                </Box>
                {grants!.length === 1 && <Box>It is the policy&apos;s last statement, so the policy is deleted, and the CA is shared with nobody.</Box>}
              </Confirm>
            )}
          </SpaceBetween>
        );
      }}
    </Loading>
  );
}

/** The statements, or undefined when the text is none that can be read here. */
function known(text: string): Statement[] | undefined {
  if (!text) return [];
  try {
    return statementsOf(text);
  } catch {
    return undefined;
  }
}

function pretty(text: string): string {
  try {
    return JSON.stringify(JSON.parse(text), null, 2);
  } catch {
    return text;
  }
}

function Lines({ of }: { of: string[] }) {
  return of.length === 0 ? <>–</> : of.map((line) => <div key={line}>{line}</div>);
}

type ChangeProps = { arn: string; text: string; write(text: string, done?: string): Promise<void>; onClose(): void };

/** The text itself, for what no form has. */
function Edit({ arn, text, write, onClose }: ChangeProps) {
  const { running, error, run } = useAct();
  const [value, setValue] = useState(() => (text ? pretty(text) : JSON.stringify({ Version: "2012-10-17", Statement: [] }, null, 2)));
  const [asked, setAsked] = useState(false);
  const wrong = checkPolicy(value);
  const statements = wrong ? [] : statementsOf(value);
  function save() {
    setAsked(true);
    if (wrong) return focusFirstError();
    void run(() => write(value)).then((done) => done && onClose());
  }
  return (
    <Container
      header={
        <Header variant="h2" description={`The Resource of every statement is this CA: ${arn}`}>
          Edit policy
        </Header>
      }
      footer={<SaveCancel running={running} onSave={save} onCancel={onClose} />}
    >
      <SpaceBetween size="l">
        <FormField label="Policy" description="In JSON, as IAM writes policies." errorText={asked ? wrong : undefined} stretch>
          <Textarea value={value} rows={20} spellcheck={false} disabled={running} onChange={(e) => setValue(e.detail.value)} />
        </FormField>
        {statements.length > 0 && (
          <FormField label="In words" stretch>
            <ul>
              {statements.map((s, i) => {
                const g = inWords(s);
                return (
                  <li key={i}>
                    {g.deny ? "Denied" : "Allowed"}: {g.who.join(", ") || "Nobody"}: {g.what.join(", ")}
                    {g.templates.length > 0 ? `, from ${g.templates.join(", ")}` : ""}
                    {g.conditions.length > 0 ? `; only if ${g.conditions.join(" and ")}` : ""}.
                  </li>
                );
              })}
            </ul>
          </FormField>
        )}
        <Failure error={error} header="The policy was not saved" />
      </SpaceBetween>
    </Container>
  );
}

const withWhom = [
  { value: "account", label: "An AWS account", description: "Everybody in it whom that account's own policies let." },
  { value: "organization", label: "An organization", description: "Every account of it." },
  { value: "principal", label: "An IAM user or role", description: "Of another account." },
];
const nameOf = { account: "Account ID", organization: "Organization ID", principal: "ARN" };

/** The shares that AWS's resource shares offer, written as the policy that they stand for. */
function Share({ arn, text, write, onClose }: ChangeProps) {
  const [value, setValue] = useState<ShareInput>({ with: "account", name: "", permission: "default", revoke: false });
  const set = (change: Partial<ShareInput>) => setValue((old) => ({ ...old, ...change }));
  const wrong = checkShare(value, accountOf(arn));
  const chosen = permissions.find((p) => p.value === value.permission)!;
  return (
    <Confirm
      header="Share this CA"
      verb="Share"
      hindrance={wrong}
      onClose={onClose}
      act={() => write(withStatements(text, shareStatements(value, arn)), `The private CA is shared with ${value.name.trim()}`)}
    >
      <FormField label="With" stretch>
        <RadioGroup value={value.with} items={withWhom} onChange={(e) => set({ with: e.detail.value as ShareInput["with"] })} />
      </FormField>
      <FormField label={nameOf[value.with]} errorText={value.name ? wrong : undefined}>
        <Input value={value.name} onChange={(e) => set({ name: e.detail.value })} autoComplete={false} spellcheck={false} />
      </FormField>
      <FormField
        label="Permission"
        description={chosen.template ? `Template ${chosen.template}` : "The CA and its certificates, and nothing else."}
        constraintText={chosen.ram ? `As AWS RAM's managed permission ${chosen.ram}.` : undefined}
      >
        <Select
          selectedOption={chosen}
          options={permissions.map(({ value, label, template }) => ({ value, label, description: template }))}
          onChange={(e) => set({ permission: e.detail.selectedOption.value! })}
        />
      </FormField>
      <Checkbox
        checked={value.revoke}
        onChange={(e) => set({ revoke: e.detail.checked })}
        description="Any certificate of this CA. As AWSRAMRevokeCertificateCertificateAuthority."
      >
        Revoke certificates
      </Checkbox>
      {!wrong && (
        <ExpandableSection headerText="What is added to the policy">
          <Code label="statements" text={JSON.stringify(shareStatements(value, arn), null, 2)} />
        </ExpandableSection>
      )}
    </Confirm>
  );
}

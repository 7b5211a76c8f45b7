import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ContentLayout from "@cloudscape-design/components/content-layout";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import TagEditor, { type TagEditorProps } from "@cloudscape-design/components/tag-editor";
import Tiles from "@cloudscape-design/components/tiles";
import Wizard from "@cloudscape-design/components/wizard";
import { useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { focusFirstError, idempotencyToken, useAct } from "../act";
import { ApiError, call, type CertificateAuthority } from "../api";
import { usePoll } from "../load";
import { keyAlgorithmName, keyAlgorithms, signingAlgorithmName, signingAlgorithms, usualSigningAlgorithm } from "../parts/algorithms";
import { checkRevocation, RevocationForm, revocationInput, revocationOf } from "../parts/revocation-form";
import { checkSubject, emptySubject, previewSubject, SubjectForm, subjectOf } from "../parts/subject-form";
import { checkTags, maxTags } from "../parts/tags";
import { useMay } from "../permissions";
import { at } from "../routes";
import { useSignedIn } from "../session";
import { usePage } from "../shell";
import { subject, words } from "../text";

const create = "acm-pca:CreateCertificateAuthority";
const tag = "acm-pca:TagCertificateAuthority";

const standards = [
  { value: "FIPS_140_2_LEVEL_3_OR_HIGHER", label: "FIPS 140-2 level 3 or higher" },
  { value: "FIPS_140_2_LEVEL_2_OR_HIGHER", label: "FIPS 140-2 level 2 or higher" },
  { value: "CCPC_LEVEL_1_OR_HIGHER", label: "CCPC level 1 or higher" },
];

const [typeStep, subjectStep, keyStep, revocationStep, tagsStep, reviewStep] = [0, 1, 2, 3, 4, 5];

/** The step, and the field of the subject, that a refusal by the API's shapes is about: it names the member. */
function whereIs(e: Error): { step: number; field?: string } {
  if (e instanceof ApiError && e.code === "InvalidTagException") return { step: tagsStep };
  const path = /\bat '([^']+)'/.exec(e instanceof ApiError && e.code === "ValidationException" ? e.message : "")?.[1] ?? "";
  if (path.startsWith("certificateAuthorityConfiguration.subject.")) {
    const [member = "", n, , of] = path.slice("certificateAuthorityConfiguration.subject.".length).split(".");
    if (member !== "customAttributes") return { step: subjectStep, field: member.charAt(0).toUpperCase() + member.slice(1) };
    return { step: subjectStep, field: n && of ? (of === "value" ? "value" : "oid") + String(Number(n) - 1) : "kind" };
  }
  if (path.startsWith("revocationConfiguration")) return { step: revocationStep };
  if (path.startsWith("tags")) return { step: tagsStep };
  return { step: reviewStep };
}

export default function CreateAuthority() {
  usePage([{ text: "Create private CA", href: at.create }]);
  const may = useMay("*", [create, tag]);
  // In the address, so that a page that is loaded anew does not begin another CA.
  const [params, setParams] = useSearchParams();
  const arn = params.get("created");
  const denied = may(create);
  return (
    <ContentLayout header={<Header variant="h1">Create private certificate authority (CA)</Header>}>
      {denied ? (
        <Alert type="warning" header="You may not create private CAs">
          {denied}
        </Alert>
      ) : arn ? (
        <Created arn={arn} />
      ) : (
        <Steps tagsDenied={may(tag)} onCreated={(created) => setParams({ created }, { replace: true })} />
      )}
    </ContentLayout>
  );
}

function Steps({ tagsDenied, onCreated }: { tagsDenied: string; onCreated(arn: string): void }) {
  const { partition } = useSignedIn();
  const navigate = useNavigate();
  const { running, error, run, clear } = useAct();
  const [token] = useState(idempotencyToken);
  const [step, setStep] = useState(typeStep);
  const [asked, setAsked] = useState<number[]>([]); // steps that were to be left, whose mistakes are shown
  const [type, setType] = useState<CertificateAuthority["Type"]>("ROOT");
  const [mode, setMode] = useState("GENERAL_PURPOSE");
  const [name, setName] = useState(emptySubject);
  const [key, setKey] = useState("RSA_2048");
  const [signing, setSigning] = useState(usualSigningAlgorithm("RSA_2048"));
  const [standard, setStandard] = useState(standards[0]!);
  const [revocation, setRevocation] = useState(() => revocationInput(undefined));
  const [tags, setTags] = useState<readonly TagEditorProps.Tag[]>([]);
  const [tagsValid, setTagsValid] = useState(true);

  const where = error ? whereIs(error) : undefined;
  const wrongName = { ...checkSubject(name), ...(where?.field && error ? { [where.field]: error.message } : {}) };
  const wrongRevocation = checkRevocation(revocation);
  const wrongTags = checkTags(tags);
  const wrong = (i: number) =>
    (i === subjectStep && Object.keys(checkSubject(name)).length > 0) ||
    (i === revocationStep && Object.keys(wrongRevocation).length > 0) ||
    (i === tagsStep && (!tagsValid || wrongTags !== ""));
  const shown = (i: number) => asked.includes(i) || where?.step === i;
  const errorText = (i: number) => (error && where?.step === i ? `${error.message}${error instanceof ApiError ? ` (${error.code})` : ""}` : undefined);
  /** Changing anything makes the server's last refusal old. */
  function changed<T>(set: (v: T) => void) {
    return (v: T) => {
      clear();
      set(v);
    };
  }

  function showErrors(of: number) {
    setAsked((old) => [...old, of]);
    setStep(of);
    focusFirstError();
  }

  function go(to: number) {
    for (let i = step; i < to; i++) {
      if (!wrong(i)) continue;
      return showErrors(i);
    }
    setStep(to);
  }

  function submit() {
    const first = [subjectStep, revocationStep, tagsStep].find(wrong);
    if (first !== undefined) return showErrors(first);
    void run(async () => {
      try {
        const out = await call<{ CertificateAuthorityArn: string }>("CreateCertificateAuthority", {
          CertificateAuthorityType: type,
          UsageMode: mode,
          CertificateAuthorityConfiguration: { KeyAlgorithm: key, SigningAlgorithm: signing, Subject: subjectOf(name) },
          RevocationConfiguration: revocationOf(revocation),
          KeyStorageSecurityStandard: standard.value,
          IdempotencyToken: token,
          ...(tags.length > 0 && { Tags: tags.map((t) => ({ Key: t.key, Value: t.value })) }),
        });
        onCreated(out.CertificateAuthorityArn);
      } catch (e) {
        setStep(whereIs(e as Error).step);
        throw e;
      }
    });
  }

  const back = (to: number) => (
    <Button onClick={() => setStep(to)} ariaLabel={`Edit step ${to + 1}`}>
      Edit
    </Button>
  );
  return (
    <Wizard
      activeStepIndex={step}
      onNavigate={(e) => go(e.detail.requestedStepIndex)}
      onCancel={() => navigate(at.authorities)}
      onSubmit={submit}
      isLoadingNextStep={running}
      submitButtonText="Create CA"
      steps={[
        {
          title: "Type and mode",
          content: (
            <SpaceBetween size="l">
              <Container header={<Header variant="h2">CA type options</Header>}>
                <Tiles
                  ariaLabel="CA type"
                  value={type}
                  onChange={(e) => changed(setType)(e.detail.value as CertificateAuthority["Type"])}
                  items={[
                    { value: "ROOT", label: "Root", description: "The top of a hierarchy of CAs. It signs its own certificate." },
                    { value: "SUBORDINATE", label: "Subordinate", description: "Below another CA, of this server or of somewhere else, which signs its certificate." },
                  ]}
                />
              </Container>
              <Container header={<Header variant="h2">Mode options</Header>}>
                <Tiles
                  ariaLabel="Mode"
                  value={mode}
                  onChange={(e) => changed(setMode)(e.detail.value)}
                  items={[
                    { value: "GENERAL_PURPOSE", label: "General-purpose", description: "Issues certificates of any validity, up to the end of its own." },
                    { value: "SHORT_LIVED_CERTIFICATE", label: "Short-lived certificate", description: "Issues certificates that are valid for seven days at most." },
                  ]}
                />
              </Container>
            </SpaceBetween>
          ),
        },
        {
          title: "Subject distinguished name",
          errorText: errorText(subjectStep),
          content: <SubjectForm value={name} errors={shown(subjectStep) ? wrongName : {}} onChange={changed(setName)} />,
        },
        {
          title: "Key algorithm",
          content: (
            <SpaceBetween size="l">
              <Container header={<Header variant="h2">Key algorithm options</Header>}>
                <SpaceBetween size="l">
                  <FormField label="Key algorithm" description="The kind and size of the CA's key pair. It cannot be changed later.">
                    <Select
                      selectedOption={{ value: key, label: keyAlgorithmName(key) }}
                      options={keyAlgorithms(partition)}
                      onChange={(e) => {
                        const next = e.detail.selectedOption.value!;
                        clear();
                        setKey(next);
                        setSigning(usualSigningAlgorithm(next));
                      }}
                    />
                  </FormField>
                  <FormField label="Signing algorithm" description="Signs the CA's certificate signing request. Each certificate that it issues names its own.">
                    <Select
                      selectedOption={{ value: signing, label: signingAlgorithmName(signing) }}
                      options={signingAlgorithms(key).map((a) => ({ value: a, label: signingAlgorithmName(a) }))}
                      onChange={(e) => changed(setSigning)(e.detail.selectedOption.value!)}
                    />
                  </FormField>
                </SpaceBetween>
              </Container>
              <Container header={<Header variant="h2">Key storage</Header>}>
                <FormField
                  label="Key storage security standard"
                  description="Kept and shown as it is chosen, for tools that compare. Whatever it says, the key is a software key: it is made by this server, sealed on its disk, and complies with none of these standards."
                >
                  <Select selectedOption={standard} options={standards} onChange={(e) => changed(setStandard)(standards.find((s) => s.value === e.detail.selectedOption.value)!)} />
                </FormField>
              </Container>
            </SpaceBetween>
          ),
        },
        {
          title: "Certificate revocation",
          isOptional: true,
          errorText: errorText(revocationStep),
          content: (
            <Container header={<Header variant="h2">Certificate revocation options</Header>}>
              <RevocationForm value={revocation} errors={shown(revocationStep) ? wrongRevocation : {}} onChange={changed(setRevocation)} />
            </Container>
          ),
        },
        {
          title: "Tags",
          isOptional: true,
          errorText: errorText(tagsStep) ?? (wrongTags || undefined),
          content: (
            <Container header={<Header variant="h2" description="Labels to find the CA by, and for policies to decide by.">Tags</Header>}>
              {tagsDenied ? (
                <Alert type="warning" header="You cannot tag certificate authorities">
                  {tagsDenied}
                </Alert>
              ) : (
                <TagEditor
                  tags={tags}
                  tagLimit={maxTags}
                  onChange={(e) => {
                    clear();
                    setTags(e.detail.tags);
                    setTagsValid(e.detail.valid);
                  }}
                />
              )}
            </Container>
          ),
        },
        {
          title: "Review and create",
          errorText: errorText(reviewStep),
          content: (
            <SpaceBetween size="l">
              <Container header={<Header variant="h2" actions={back(typeStep)}>Step 1: Type and mode</Header>}>
                <KeyValuePairs
                  columns={2}
                  items={[
                    { label: "Type", value: words(type) },
                    { label: "Mode", value: mode === "GENERAL_PURPOSE" ? "General-purpose" : "Short-lived certificate" },
                  ]}
                />
              </Container>
              <Container header={<Header variant="h2" actions={back(subjectStep)}>Step 2: Subject distinguished name</Header>}>
                <Box variant="code">{previewSubject(name)}</Box>
              </Container>
              <Container header={<Header variant="h2" actions={back(keyStep)}>Step 3: Key algorithm</Header>}>
                <KeyValuePairs
                  columns={3}
                  items={[
                    { label: "Key algorithm", value: keyAlgorithmName(key) },
                    { label: "Signing algorithm", value: signingAlgorithmName(signing) },
                    { label: "Key storage security standard", value: standard.label },
                  ]}
                />
              </Container>
              <Container header={<Header variant="h2" actions={back(revocationStep)}>Step 4: Certificate revocation</Header>}>
                <KeyValuePairs
                  columns={2}
                  items={[
                    { label: "CRL distribution", value: revocation.crl ? `On, in the bucket ${revocation.bucket}` : "Off" },
                    { label: "OCSP", value: revocation.ocsp ? "On" : "Off" },
                  ]}
                />
              </Container>
              <Container header={<Header variant="h2" actions={back(tagsStep)}>Step 5: Tags</Header>}>
                {tags.length === 0 ? "No tags" : <KeyValuePairs columns={3} items={tags.map((t) => ({ label: t.key, value: t.value || "–" }))} />}
              </Container>
            </SpaceBetween>
          ),
        },
      ]}
    />
  );
}

/** The CA is made; its key pair takes a moment more. */
function Created({ arn }: { arn: string }) {
  const navigate = useNavigate();
  const [authority, setAuthority] = useState<CertificateAuthority>();
  const [trouble, setTrouble] = useState<Error>();
  const status = authority?.Status ?? "CREATING";

  usePoll(status === "CREATING", 500, async () => {
    try {
      const { CertificateAuthority: now } = await call<{ CertificateAuthority: CertificateAuthority }>("DescribeCertificateAuthority", { CertificateAuthorityArn: arn });
      setAuthority(now);
      setTrouble(undefined);
    } catch (e) {
      setTrouble(e as Error);
    }
  });
  return (
    <Container
      header={<Header variant="h2">{status === "CREATING" ? "The certificate authority is being created" : status === "FAILED" ? "The certificate authority could not be created" : "The certificate authority is created"}</Header>}
      footer={
        <SpaceBetween size="xs" direction="horizontal">
          <Button variant="primary" disabled={status !== "PENDING_CERTIFICATE"} disabledReason="Its key pair is still being made." onClick={() => navigate(at.install(arn))}>
            Install CA certificate
          </Button>
          <Button onClick={() => navigate(at.authority(arn))}>View CA</Button>
          <Button variant="link" onClick={() => navigate(at.authorities)}>
            Back to private CAs
          </Button>
        </SpaceBetween>
      }
    >
      <SpaceBetween size="m">
        <div role="status">
          {status === "CREATING" ? (
            <StatusIndicator type="in-progress">Making the key pair and the certificate signing request</StatusIndicator>
          ) : status === "FAILED" ? (
            <StatusIndicator type="error">Failed{authority?.FailureReason ? `: ${words(authority.FailureReason)}` : ""}</StatusIndicator>
          ) : (
            <StatusIndicator type="success">The key pair is made. To issue certificates, the CA needs a certificate of its own.</StatusIndicator>
          )}
        </div>
        {trouble && <Alert type="warning">{trouble.message}</Alert>}
        <KeyValuePairs
          columns={2}
          items={[
            { label: "Subject", value: subject(authority?.CertificateAuthorityConfiguration.Subject) },
            { label: "ARN", value: arn },
          ]}
        />
      </SpaceBetween>
    </Container>
  );
}

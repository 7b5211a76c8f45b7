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
import Steps, { type StepsProps } from "@cloudscape-design/components/steps";
import Tiles from "@cloudscape-design/components/tiles";
import { useEffect, useRef, useState } from "react";
import { useNavigate, useSearchParams } from "react-router";
import { focusFirstError, idempotencyToken, useAct } from "../act";
import { api, ApiError, call, type Authority, type CertificateAuthority, type Decoded, type HierarchyNode, type OverviewRow } from "../api";
import { useAuthorityArn } from "../authority";
import { useLoad, usePoll } from "../load";
import { useNotify } from "../notifications";
import { signingAlgorithmName, signingAlgorithms } from "../parts/algorithms";
import { Pem } from "../parts/decoded";
import { Failure } from "../parts/failure";
import { LoadFailure, Loading } from "../parts/loading";
import { checkPem, PemField } from "../parts/pem-field";
import { SaveCancel } from "../parts/save-cancel";
import { checkValidity, ValidityForm, validityOf, type ValidityInput } from "../parts/validity-form";
import { useMay } from "../permissions";
import { at } from "../routes";
import { useSignedIn } from "../session";
import { usePage } from "../shell";
import { day, idOf, subject, words } from "../text";

const csrAction = "acm-pca:GetCertificateAuthorityCsr";
const importAction = "acm-pca:ImportCertificateAuthorityCertificate";
const issueAction = "acm-pca:IssueCertificate";
const getAction = "acm-pca:GetCertificate";

/** Certificates are text in the API's blobs, which are base64. PEM is ASCII; what is not is for the server to refuse. */
const blob = (text: string) => btoa(Array.from(new TextEncoder().encode(text), (b) => String.fromCharCode(b)).join(""));

export default function Install() {
  const arn = useAuthorityArn();
  const describe = useLoad(arn, () => call<{ CertificateAuthority: CertificateAuthority }>("DescribeCertificateAuthority", { CertificateAuthorityArn: arn }));
  const authority = describe.data?.CertificateAuthority;
  const creating = authority?.Status === "CREATING";
  usePoll(creating, 1000, async () => describe.reload());
  const renewal = authority?.Status === "ACTIVE" || authority?.Status === "EXPIRED";
  const title = renewal ? "Renew CA certificate" : "Install CA certificate";
  usePage([
    { text: subject(authority?.CertificateAuthorityConfiguration.Subject) === "–" ? idOf(arn) : subject(authority?.CertificateAuthorityConfiguration.Subject), href: at.authority(arn) },
    { text: title, href: at.install(arn) },
  ]);
  const may = useMay(arn, [csrAction, importAction]);
  const denied = may(csrAction) || may(importAction);
  return (
    <ContentLayout header={<Header variant="h1">{title}</Header>}>
      <Loading of={describe} what="private CA">
        {({ CertificateAuthority: a }) =>
          creating ? (
            <StatusIndicator type="in-progress">The key pair of the private CA is being made</StatusIndicator>
          ) : !renewal && a.Status !== "PENDING_CERTIFICATE" ? (
            <Alert type="warning" header="A certificate cannot be installed now">
              The status of the private CA is {words(a.Status)}.{" "}
              {a.Status === "DISABLED" ? "Enable it first." : a.Status === "DELETED" ? "Restore it first." : "It cannot be used; create another one."}
            </Alert>
          ) : denied ? (
            <Alert type="warning" header="You may not install the certificate of this private CA">
              {denied}
            </Alert>
          ) : (
            <SpaceBetween size="l">
              <Container header={<Header variant="h2">Certificate authority</Header>}>
                <KeyValuePairs
                  columns={4}
                  items={[
                    { label: "Subject", value: subject(a.CertificateAuthorityConfiguration.Subject) },
                    { label: "Type", value: words(a.Type) },
                    { label: "Status", value: words(a.Status) },
                    ...(renewal ? [{ label: "Its certificate ends", value: day(a.NotAfter) }] : [{ label: "ID", value: idOf(arn) }]),
                  ]}
                />
              </Container>
              {renewal && (
                <Alert type="info">
                  The new certificate takes the old one&apos;s place, for the same key pair. Certificates that the CA has issued stay valid and are
                  not issued anew; what it issues from now on may be valid up to the new end.
                </Alert>
              )}
              <Choice authority={a} />
            </SpaceBetween>
          )
        }
      </Loading>
    </ContentLayout>
  );
}

/** Who signs: a root itself, a subordinate's parent here or elsewhere. */
function Choice({ authority }: { authority: CertificateAuthority }) {
  const [params] = useSearchParams();
  const [kind, setKind] = useState("here");
  if (authority.Type === "ROOT") return <Issue authority={authority} />;
  // Once it is begun there is no other way than on, or to start over.
  const begun = params.has("token") || params.has("certificate");
  return (
    <SpaceBetween size="l">
      {!begun && (
        <Container key="choice" header={<Header variant="h2">Parent type</Header>}>
          <Tiles
            ariaLabel="Parent type"
            value={kind}
            onChange={(e) => setKind(e.detail.value)}
            items={[
              { value: "here", label: "Private CA of this server", description: "A CA here signs the certificate, at once." },
              { value: "external", label: "External private CA", description: "Take the certificate signing request to a CA elsewhere, and bring the certificate back." },
            ]}
          />
        </Container>
      )}
      {kind === "here" || begun ? <Issue key="here" authority={authority} /> : <External key="external" authority={authority} />}
    </SpaceBetween>
  );
}

/** The ARN of the CA that the tree shows right above the current one; "" when it is not known. */
function parentOf(node: HierarchyNode | undefined): string {
  for (const child of node?.children ?? []) {
    const found = child.current ? node!.arn : parentOf(child);
    if (found) return found;
  }
  return "";
}

/** The path length that a CA's certificate sets; undefined when it sets none. */
function pathLength(d: Decoded | null | undefined): number | undefined {
  const found = /\d+/.exec(d?.extensions.find((e) => e.oid === "2.5.29.19")?.value ?? "");
  return found ? Number(found[0]) : undefined;
}

/**
 * How many CAs may still follow below a CA that this one signs: the least of
 * what it and those above it allow, null when none of them sets a limit, and
 * below 0 when it can sign no CA at all.
 */
function room(details: Authority): number | null {
  const path = details.certificate ? [details.certificate, ...details.chain] : [];
  const limits = path.flatMap((d, above) => {
    const length = pathLength(d);
    return length === undefined ? [] : [length - above - 1];
  });
  return limits.length > 0 ? Math.min(...limits) : null;
}

type Progress = { csr: string; certificate: string; body: string; chain: string; installed: boolean };

/** Signed here: by the CA itself or by its parent. */
function Issue({ authority }: { authority: CertificateAuthority }) {
  const arn = authority.Arn;
  const root = authority.Type === "ROOT";
  const { partition } = useSignedIn();
  const navigate = useNavigate();
  const notify = useNotify();
  const { running, error, run, clear } = useAct();
  // What was begun is kept in the address: a page that is loaded anew goes on
  // with the same token or the same certificate, and does not issue a second one.
  const [params, setParams] = useSearchParams();
  const issued = params.get("certificate") ?? "";
  const [token, setToken] = useState(() => params.get("token") ?? idempotencyToken());
  const [progress, setProgress] = useState<Progress>({ csr: "", certificate: issued, body: "", chain: "", installed: false });
  const [begun, setBegun] = useState(issued !== "");
  const [parent, setParent] = useState(params.get("parent") ?? "");
  const [validity, setValidity] = useState<ValidityInput>({ unit: "YEARS", value: root ? "10" : "3", date: "" });
  const [chosenLength, setLength] = useState<number>();
  const [signing, setSigning] = useState("");
  const gone = useRef(false);
  useEffect(() => {
    gone.current = false;
    return () => void (gone.current = true);
  }, []);

  const list = useLoad(`parents of ${arn}`, (signal) => (root ? Promise.resolve({ authorities: [] }) : api.overview(signal)));
  const self = useLoad(`hierarchy of ${arn}`, (signal) => (root ? Promise.resolve(undefined) : api.authority(arn, signal)));
  // A renewal keeps what the certificate allowed: CAs may be below this one.
  const length = chosenLength ?? (self.data?.certificate ? Math.min(pathLength(self.data.certificate) ?? 3, 3) : 0);
  const parents = (list.data?.authorities ?? []).filter(
    ({ authority: a }) => a.Arn !== arn && a.Status === "ACTIVE" && (a.UsageMode ?? "GENERAL_PURPOSE") === "GENERAL_PURPOSE",
  );
  const before = parentOf(self.data?.hierarchy);
  const issuerArn = root ? arn : parent || (parents.some((p) => p.authority.Arn === before) ? before : "");
  const issuer = useLoad(`issuer ${issuerArn}`, (signal) => (root || !issuerArn ? Promise.resolve(undefined) : api.authority(issuerArn, signal)));
  const signer = root ? authority : (issuer.data?.authority ?? parents.find((p) => p.authority.Arn === issuerArn)?.authority);
  const algorithms = signingAlgorithms(signer?.CertificateAuthorityConfiguration.KeyAlgorithm ?? "");
  const algorithm = algorithms.includes(signing) ? signing : (signer?.CertificateAuthorityConfiguration.SigningAlgorithm ?? "");
  const left = issuer.data ? room(issuer.data) : null;
  const template = `arn:${partition}:acm-pca:::template/${root ? "RootCACertificate" : `SubordinateCACertificate_PathLen${length}`}/V1`;
  const may = useMay(issuerArn, [issueAction, getAction], template);

  const wrongParent = root || issuerArn ? (left !== null && left < 0 ? "Its path length allows no CA below it. Choose another parent." : "") : "Choose a parent.";
  const wrongLength = left !== null && left >= 0 && length > left ? `The parent allows ${left} at most.` : "";
  const wrongValidity = checkValidity(validity, root ? undefined : signer?.NotAfter);
  const [asked, setAsked] = useState(false);
  const denied = may(issueAction) || may(getAction);
  const locked = running || begun;
  const keep = (change: Record<string, string>) =>
    setParams(
      (old) => {
        for (const [k, v] of Object.entries(change)) v ? old.set(k, v) : old.delete(k);
        return old;
      },
      { replace: true },
    );

  function start() {
    setAsked(true);
    // What was issued already needs no second look at the form.
    if (!progress.certificate && (!signer || wrongParent || wrongLength || wrongValidity)) return focusFirstError();
    setBegun(true);
    if (!progress.certificate) keep({ token, parent: root ? "" : issuerArn });
    void run(async () => {
      let p = progress;
      const advance = (change: Partial<Progress>) => setProgress((p = { ...p, ...change }));
      if (!p.csr && !p.certificate) {
        advance({ csr: (await call<{ Csr: string }>("GetCertificateAuthorityCsr", { CertificateAuthorityArn: arn })).Csr });
      }
      if (!p.certificate) {
        let out;
        try {
          out = await call<{ CertificateArn: string }>("IssueCertificate", {
            CertificateAuthorityArn: issuerArn,
            Csr: blob(p.csr),
            SigningAlgorithm: algorithm,
            TemplateArn: template,
            Validity: validityOf(validity),
            IdempotencyToken: token,
          });
        } catch (e) {
          // Refused: nothing was issued, and the form can be changed. Otherwise
          // nobody knows, and only the same request with the same token is safe.
          if (e instanceof ApiError && e.status >= 400 && e.status < 500) {
            setBegun(false);
            keep({ token: "" });
          }
          throw e;
        }
        advance({ certificate: out.CertificateArn });
        keep({ certificate: out.CertificateArn });
      }
      const by = p.certificate.slice(0, p.certificate.indexOf("/certificate/"));
      for (let tries = 0; !p.body; tries++) {
        try {
          const got = await call<{ Certificate: string; CertificateChain?: string }>("GetCertificate", { CertificateAuthorityArn: by, CertificateArn: p.certificate });
          advance({ body: got.Certificate, chain: got.CertificateChain ?? "" });
        } catch (e) {
          if (gone.current || tries >= 60 || !(e instanceof ApiError) || e.code !== "RequestInProgressException") throw e;
          await new Promise((later) => setTimeout(later, 1000));
        }
      }
      await call("ImportCertificateAuthorityCertificate", {
        CertificateAuthorityArn: arn,
        Certificate: blob(p.body),
        ...(p.chain && { CertificateChain: blob(p.chain) }),
      });
      advance({ installed: true });
      notify("success", "The CA certificate is installed", `${subject(authority.CertificateAuthorityConfiguration.Subject)} is active.`);
      if (!gone.current) navigate(at.authority(arn), { replace: true });
    });
  }

  function anew() {
    clear();
    setToken(idempotencyToken());
    setBegun(false);
    setProgress({ csr: "", certificate: "", body: "", chain: "", installed: false });
    keep({ token: "", certificate: "" });
  }

  const unknown = begun && !progress.certificate && error !== undefined && progress.csr !== "";
  return (
    <SpaceBetween size="l">
      {!(begun && issued) && (
        <Container
          header={
            <Header variant="h2" description={root ? "The CA signs its own certificate." : "The parent signs the CA's certificate."}>
              Specify the {root ? "root" : "subordinate"} CA certificate parameters
            </Header>
          }
        >
          <SpaceBetween size="l">
            {!root && (
              <SpaceBetween size="l">
                {list.error && <LoadFailure of={list} what="list of certificate authorities" />}
                <FormField
                  label="Parent private CA"
                  description="Active CAs that are in general-purpose mode."
                  errorText={(asked || issuerArn ? wrongParent : "") || (issuer.error ? issuer.error.message : undefined)}
                >
                  <Select
                    placeholder="Choose a parent"
                    selectedOption={optionOf(parents.find((p) => p.authority.Arn === issuerArn)) ?? (issuerArn ? { value: issuerArn, label: idOf(issuerArn) } : null)}
                    options={parents.map((p) => optionOf(p)!)}
                    filteringType="auto"
                    disabled={locked}
                    statusType={list.loading ? "loading" : "finished"}
                    loadingText="Reading the list"
                    empty="There is no active general-purpose CA. Create a root CA and install its certificate first."
                    onChange={(e) => setParent(e.detail.selectedOption.value!)}
                  />
                </FormField>
                <FormField
                  label="Path length"
                  description="How many more CAs may follow below this one."
                  constraintText="0: it issues certificates for servers, people and devices only."
                  errorText={wrongLength}
                >
                  <Select
                    selectedOption={{ value: String(length), label: String(length) }}
                    options={[0, 1, 2, 3].map((n) => ({
                      value: String(n),
                      label: String(n),
                      disabled: left !== null && n > left,
                      disabledReason: "The parent does not allow so many CAs below it.",
                    }))}
                    disabled={locked}
                    onChange={(e) => setLength(Number(e.detail.selectedOption.value))}
                  />
                </FormField>
              </SpaceBetween>
            )}
            <ValidityForm value={validity} error={asked || validity.value ? wrongValidity : ""} disabled={locked} onChange={setValidity} />
            <FormField label="Signature algorithm" description={root ? undefined : "One that goes with the key of the parent."}>
              <Select
                selectedOption={algorithm ? { value: algorithm, label: signingAlgorithmName(algorithm) } : null}
                options={algorithms.map((a) => ({ value: a, label: signingAlgorithmName(a) }))}
                disabled={locked || !signer}
                placeholder="Choose a parent first"
                onChange={(e) => setSigning(e.detail.selectedOption.value!)}
              />
            </FormField>
            <KeyValuePairs items={[{ label: "Template", value: <span className="value">{template}</span> }]} />
          </SpaceBetween>
        </Container>
      )}
      {begun && <ProgressOf progress={progress} running={running} failed={error !== undefined} issuer={root ? "The CA" : "The parent"} resumed={issued !== "" && !progress.csr} />}
      <Failure error={error} header={hasHappened(progress, begun, unknown)} />
      {unknown && (
        <Alert type="warning">
          Nobody knows whether the certificate was issued. Try again within five minutes: the server then answers with the same certificate, if there is one, and
          does not issue a second.
        </Alert>
      )}
      {begun && issued !== "" && !running && !error && (
        <Alert type="info" header="A certificate is issued already">
          This page was left before it was installed. Go on to install it, or start over to issue another one.
        </Alert>
      )}
      <Box float="right">
        <SpaceBetween direction="horizontal" size="xs">
          <Button variant="link" disabled={running} onClick={() => navigate(at.authority(arn))}>
            Cancel
          </Button>
          {begun && !running && <Button onClick={anew}>Start over</Button>}
          <Button variant="primary" loading={running || (!progress.certificate && issuer.loading)} disabled={denied !== "" && !progress.certificate} disabledReason={denied || undefined} onClick={start}>
            {begun && !running ? (progress.certificate ? "Continue" : "Try again") : "Confirm and install"}
          </Button>
        </SpaceBetween>
      </Box>
    </SpaceBetween>
  );
}

function optionOf(row: OverviewRow | undefined) {
  if (!row) return null;
  const a = row.authority;
  return {
    value: a.Arn,
    label: subject(a.CertificateAuthorityConfiguration.Subject),
    description: `${words(a.Type)}, ends ${day(a.NotAfter)}${row.shared ? `, shared by ${a.OwnerAccount}` : ""}`,
    labelTag: idOf(a.Arn).slice(0, 8),
  };
}

/** What the person finds when a step has failed. */
function hasHappened(p: Progress, begun: boolean, unknown: boolean): string {
  if (p.body) return "The certificate is issued, but it is not installed";
  if (p.certificate) return "The certificate is issued, but it could not be fetched";
  if (unknown) return "The answer to the request for a certificate did not arrive";
  return begun ? "Nothing was issued" : "The certificate was not issued";
}

function ProgressOf({ progress: p, running, failed, issuer, resumed }: { progress: Progress; running: boolean; failed: boolean; issuer: string; resumed: boolean }) {
  const done = [resumed || p.csr !== "", p.certificate !== "", p.body !== "", p.installed];
  const first = done.indexOf(false);
  const status = (i: number): StepsProps.Status => (done[i] ? "success" : i === first && failed ? "error" : i === first && running ? "in-progress" : "pending");
  const label: Partial<Record<StepsProps.Status, string>> = { success: "Done", error: "Failed", "in-progress": "Under way", pending: "To do" };
  const step = (i: number, header: string, details?: string) => ({ status: status(i), statusIconAriaLabel: label[status(i)], header, details });
  return (
    <Container header={<Header variant="h2">Progress</Header>}>
      <div role="status">
        <Steps
          ariaLabel="Progress"
          steps={[
            step(0, "Read the certificate signing request"),
            step(1, `${issuer} issues the certificate`, p.certificate ? `Serial number ${idOf(p.certificate)}` : undefined),
            step(2, "Fetch the certificate"),
            step(3, "Install it"),
          ]}
        />
      </div>
    </Container>
  );
}

/** Signed elsewhere: the request goes out, the certificate and its chain come in. */
function External({ authority }: { authority: CertificateAuthority }) {
  const arn = authority.Arn;
  const navigate = useNavigate();
  const notify = useNotify();
  const { running, error, run } = useAct();
  const csr = useLoad(`csr ${arn}`, (signal) => call<{ Csr: string }>("GetCertificateAuthorityCsr", { CertificateAuthorityArn: arn }, signal));
  const [body, setBody] = useState("");
  const [chain, setChain] = useState("");
  const [asked, setAsked] = useState(false);
  const wrongBody = checkPem(body, 1, 32768);
  const wrongChain = checkPem(chain, undefined, 2097152);

  function install() {
    setAsked(true);
    if (wrongBody || wrongChain) return focusFirstError();
    void run(async () => {
      await call("ImportCertificateAuthorityCertificate", { CertificateAuthorityArn: arn, Certificate: blob(body), CertificateChain: blob(chain) });
      notify("success", "The CA certificate is installed", `${subject(authority.CertificateAuthorityConfiguration.Subject)} is active.`);
      navigate(at.authority(arn), { replace: true });
    });
  }
  return (
    <SpaceBetween size="l">
      <Container
        header={
          <Header variant="h2" description="Have the external CA sign this as a CA's certificate: with critical basicConstraints CA:TRUE, for the same key.">
            1. Certificate signing request (CSR)
          </Header>
        }
      >
        <Loading of={csr} what="certificate signing request">
          {({ Csr }) => <Pem text={Csr} file={`${idOf(arn)}.csr`} label="CSR" />}
        </Loading>
      </Container>
      <Container header={<Header variant="h2" description="You can leave this page, and come back when you have the certificate.">2. Import the signed certificate</Header>}>
        <SpaceBetween size="l">
          <PemField
            label="Certificate body"
            description="The CA's certificate, in PEM form."
            value={body}
            error={asked ? wrongBody : undefined}
            disabled={running}
            onChange={setBody}
          />
          <PemField
            label="Certificate chain"
            description="The certificates above it, in PEM form: the one that signed it first, the root last."
            value={chain}
            error={asked ? wrongChain : undefined}
            disabled={running}
            onChange={setChain}
          />
        </SpaceBetween>
      </Container>
      <Failure error={error} header="The certificate was not installed" />
      <SaveCancel verb="Confirm and install" running={running} onSave={install} onCancel={() => navigate(at.authority(arn))} />
    </SpaceBetween>
  );
}

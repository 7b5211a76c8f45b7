import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ContentLayout from "@cloudscape-design/components/content-layout";
import Form from "@cloudscape-design/components/form";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import Link from "@cloudscape-design/components/link";
import LiveRegion from "@cloudscape-design/components/live-region";
import RadioGroup from "@cloudscape-design/components/radio-group";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import Tiles from "@cloudscape-design/components/tiles";
import { useEffect, useRef, useState } from "react";
import { useNavigate } from "react-router";
import { api, ApiError, call, type Authority, type Buckets, type Report } from "../api";
import { useAct } from "../act";
import { useAuthorityArn } from "../authority";
import { bucketNameProblem } from "../bucket-name";
import { useLoad, usePoll, type Loaded } from "../load";
import { BucketPolicy, useBucketState } from "../parts/bucket-policy";
import { Loading } from "../parts/loading";
import { useMay } from "../permissions";
import { at } from "../routes";
import { href, useFollow, usePage } from "../shell";
import { day, subject, time, waited, whyNoReport } from "../text";

const create = "acm-pca:CreateCertificateAuthorityAuditReport";

export default function GenerateReport() {
  const arn = useAuthorityArn();
  const authority = useLoad(arn, (signal) => api.authority(arn, signal));
  const name = subject(authority.data?.authority.CertificateAuthorityConfiguration.Subject);
  usePage([
    { text: authority.data ? name : "Private CA", href: at.authority(arn) },
    { text: "Generate audit report", href: at.generate(arn) },
  ], 800);
  return (
    <ContentLayout
      header={
        <Header variant="h1" description="A report lists every certificate that the private CA has issued, with its revocation if there is one.">
          Generate audit report
        </Header>
      }
    >
      <Loading of={authority} what="private CA">
        {(details) => <ReportForm arn={arn} read={details} />}
      </Loading>
    </ContentLayout>
  );
}

type Focusable = { focus(): void };
type Problem = { field: "name" | "bucket" | "form"; header?: string; text: string };

function ReportForm({ arn, read }: { arn: string; read: Authority }) {
  const navigate = useNavigate();
  const may = useMay(arn, [create]);
  const [details, setDetails] = useState(read);
  useEffect(() => setDetails(read), [read]);
  const allowed = details.reportAllowed;
  const again = async () => setDetails(await api.authority(arn, undefined, true));
  usePoll(!allowed.allowed, 3000, () => again().catch(() => {})); // the next turn tries again

  const [fresh, setFresh] = useState("yes");
  const [name, setName] = useState("");
  const [chosen, setChosen] = useState("");
  const [format, setFormat] = useState<Report["format"]>("JSON");
  const [problem, setProblem] = useState<Problem>();
  const [touched, setTouched] = useState(false);
  const [made, setMade] = useState("");
  const buckets = useLoad("buckets", (signal) => api.buckets(signal));
  const state = useBucketState(arn, fresh === "no" ? chosen : "");
  const submit = useAct();
  const field = useRef<Focusable>(null);
  const focusable = (f: Focusable | null) => void (field.current = f);

  const bad = bucketNameProblem(name, !touched);
  const nameMay = useMay(fresh === "yes" && !bucketNameProblem(name, false) ? bucketArn(arn, name) : "", ["s3:CreateBucket", "s3:PutBucketPolicy"]);
  const nameForbidden = nameMay("s3:CreateBucket") || nameMay("s3:PutBucketPolicy");
  // Who has to wait fills the form in meanwhile; for who may not there is nothing to fill in.
  const disabled = may(create) !== "";
  const refused = may(create) || whyNoReport(allowed, details.authority.Status, details.lastReport);

  // It may have been put right meanwhile.
  const bucketProblem = problem?.field === "bucket" && !state.state?.allowed ? problem.text : "";

  function fail(p: Problem) {
    setProblem(p);
    if (p.field !== "form") field.current?.focus();
  }

  /** The bucket that the report goes to, made if need be; undefined: there is none, and the page says why. */
  async function bucket(): Promise<string | undefined> {
    if (fresh === "no") {
      if (!chosen) return void fail({ field: "bucket", text: "Choose a bucket." });
      const s = await state.check();
      // Where it cannot be looked at, the server still decides.
      if (s && !s.allowed) return void fail({ field: "bucket", text: s.exists && s.needed ? `The private CA may not write there. ${s.reason} Attach the policy below, and try again.` : s.reason });
      return chosen;
    }
    setTouched(true);
    const wrong = bucketNameProblem(name, false);
    if (wrong) return void fail({ field: "name", text: wrong });
    try {
      await api.createBucket(arn, name);
    } catch (e) {
      return void fail({ field: "name", text: (e as Error).message });
    }
    setMade(name);
    setFresh("no");
    setChosen(name);
    buckets.reload();
    return name;
  }

  async function generate() {
    setProblem(undefined);
    const to = await bucket();
    if (!to) return;
    try {
      const answer = await call<{ AuditReportId: string }>("CreateCertificateAuthorityAuditReport", {
        CertificateAuthorityArn: arn,
        S3BucketName: to,
        AuditReportResponseFormat: format,
      });
      await navigate(at.report(arn, answer.AuditReportId));
    } catch (e) {
      const error = e as ApiError;
      const unknown = error.status === 0;
      setProblem({
        field: "form",
        header: unknown ? "It is not known whether the report was accepted" : "The report was not accepted",
        text: unknown ? `${error.message} Look at the list of audit reports before you try again.` : error.message,
      });
      await again().catch(() => {});
    }
  }

  return (
    <form
      onSubmit={(e) => {
        e.preventDefault();
        if (!refused) void submit.run(generate);
      }}
    >
      <Form
        actions={
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" formAction="none" onClick={() => navigate(at.authority(arn))}>
              Cancel
            </Button>
            <Button variant="primary" loading={submit.running} loadingText="The report is being asked for" disabled={refused !== ""} disabledReason={refused || undefined}>
              Generate audit report
            </Button>
          </SpaceBetween>
        }
      >
        <SpaceBetween size="l">
          <NotNow details={details} forbidden={may(create)} />
          {problem?.field === "form" && (
            <div role="alert">
              <Alert type="error" header={problem.header}>
                {problem.text}
              </Alert>
            </div>
          )}
          {made && (
            <Alert type="info" header={`The bucket ${made} was created`}>
              Its policy lets the private CAs of your account write. It stays, and is chosen below.
            </Alert>
          )}
          <Container header={<Header variant="h2">Audit report destination</Header>}>
            <SpaceBetween size="l">
              <FormField label="Create a new S3 bucket">
                <RadioGroup
                  value={fresh}
                  onChange={(e) => {
                    setFresh(e.detail.value);
                    setProblem(undefined);
                  }}
                  items={[
                    { value: "yes", label: "Yes", disabled, description: "The bucket is created, and the policy that the private CA needs is attached to it." },
                    { value: "no", label: "No", disabled, description: "The report goes to an existing bucket, which must have the policy." },
                  ]}
                />
              </FormField>
              {fresh === "yes" ? (
                <FormField
                  label="S3 bucket name"
                  description="Type a unique name."
                  constraintText="3 to 63 characters: lower-case letters, digits, hyphens and dots. It begins and ends with a letter or a digit."
                  errorText={bad || (problem?.field === "name" && problem.text) || nameForbidden}
                >
                  <Input
                    ref={focusable}
                    value={name}
                    disabled={disabled}
                    onChange={(e) => {
                      setName(e.detail.value);
                      setProblem(undefined);
                    }}
                    onBlur={() => setTouched(name !== "")}
                    ariaRequired
                    autoComplete={false}
                    spellcheck={false}
                    placeholder={`audit-reports-${details.authority.OwnerAccount}`}
                  />
                </FormField>
              ) : (
                <>
                  <ExistingBucket
                    buckets={buckets}
                    chosen={chosen}
                    disabled={disabled}
                    error={bucketProblem}
                    field={focusable}
                    onChoose={(b) => {
                      setChosen(b);
                      setProblem(undefined);
                    }}
                  />
                  {chosen ? (
                    <BucketPolicy ca={arn} bucket={chosen} state={state} told={bucketProblem !== ""} />
                  ) : (
                    <Box color="text-body-secondary">The bucket needs a policy that lets the private CA write. Choose a bucket, and its policy is looked at.</Box>
                  )}
                </>
              )}
            </SpaceBetween>
          </Container>
          <Container header={<Header variant="h2">Output format</Header>}>
            <Tiles
              ariaLabel="Output format"
              value={format}
              onChange={(e) => setFormat(e.detail.value as Report["format"])}
              items={[
                { value: "JSON", label: "JSON", disabled, description: "JavaScript Object Notation: one array with an object for each certificate. For jq and programs." },
                { value: "CSV", label: "CSV", disabled, description: "Comma-separated values: a line for each certificate below a line of names. For spreadsheets." },
              ]}
            />
          </Container>
        </SpaceBetween>
      </Form>
    </form>
  );
}

const bucketArn = (ca: string, name: string) => `arn:${ca.split(":")[1]}:s3:::${name}`;

type ExistingProps = {
  buckets: Loaded<Buckets>;
  chosen: string;
  disabled: boolean;
  error: string;
  field(f: Focusable | null): void;
  onChoose(name: string): void;
};

/** The list of buckets; who may not see the list types a name. */
function ExistingBucket({ buckets, chosen, disabled, error, field, onChoose }: ExistingProps) {
  const [typed, setTyped] = useState(chosen);
  if (buckets.error instanceof ApiError && buckets.error.code === "AccessDeniedException") {
    const wrong = bucketNameProblem(typed, true);
    return (
      <FormField label="S3 bucket" description={`The buckets cannot be listed: ${buckets.error.message} Type the bucket's name.`} errorText={wrong || error}>
        <Input
          ref={field}
          value={typed}
          disabled={disabled}
          onChange={(e) => setTyped(e.detail.value)}
          onBlur={() => onChoose(bucketNameProblem(typed, false) ? "" : typed)}
          ariaRequired
          autoComplete={false}
          spellcheck={false}
        />
      </FormField>
    );
  }
  const options = (buckets.data?.buckets ?? []).map((b) => ({ value: b.name, label: b.name, description: `Created ${day(b.createdAt)}` }));
  return (
    <FormField
      label="S3 bucket"
      description={buckets.data ? `Buckets of ${buckets.data.service}.` : undefined}
      errorText={error}
      secondaryControl={<Button iconName="refresh" formAction="none" ariaLabel="Read the list of buckets again" loading={buckets.loading} onClick={buckets.reload} />}
    >
      <Select
        ref={field}
        disabled={disabled}
        selectedOption={chosen ? { value: chosen, label: chosen } : null}
        options={options}
        onChange={(e) => onChoose(e.detail.selectedOption.value ?? "")}
        placeholder="Choose a bucket"
        filteringType="auto"
        filteringPlaceholder="Find buckets"
        filteringAriaLabel="Find buckets"
        statusType={buckets.error ? "error" : buckets.loading && !buckets.data ? "loading" : "finished"}
        loadingText="Reading the list of buckets"
        errorText={buckets.error?.message}
        recoveryText="Try again"
        onLoadItems={() => buckets.error && buckets.reload()}
        empty="There is no bucket yet. Choose Yes to create one."
        noMatch="No bucket of that name"
        ariaRequired
      />
    </FormField>
  );
}

/** Why no report can be made now, and when one can. */
function NotNow({ details, forbidden }: { details: Authority; forbidden: string }) {
  const arn = details.authority.Arn;
  const follow = useFollow();
  const { allowed, at: when } = details.reportAllowed;
  const was = useRef(allowed);
  const opened = allowed && !was.current;
  const last = details.lastReport;
  if (forbidden) {
    return (
      <Alert type="warning" header="You may not generate audit reports of this private CA">
        {forbidden}
      </Alert>
    );
  }
  if (allowed) {
    return opened ? (
      <LiveRegion>
        <StatusIndicator type="success">An audit report can be generated now.</StatusIndicator>
      </LiveRegion>
    ) : null;
  }
  return (
    <Alert type="info" header="No audit report can be generated now">
      <SpaceBetween size="xs">
        {when ? (
          <span>
            {last && `${waited(last, when)} `}
            Possible from <strong>{time(when)}</strong> <Until time={when} />. This page notices by itself.
          </span>
        ) : (
          <span>{whyNoReport(details.reportAllowed, details.authority.Status, last)}</span>
        )}
        {last && (
          <Link href={href(at.report(arn, last.id))} onFollow={follow}>
            {last.status === "CREATING" ? "See the report that is being created" : "See the last report"}
          </Link>
        )}
      </SpaceBetween>
    </Alert>
  );
}

/** How long it is until then; it counts by itself, and is not read out each second. */
function Until({ time: then }: { time: string }) {
  const [now, setNow] = useState(Date.now);
  useEffect(() => {
    const timer = window.setInterval(() => setNow(Date.now()), 1000);
    return () => window.clearInterval(timer);
  }, []);
  const seconds = Math.max(0, Math.ceil((new Date(then).getTime() - now) / 1000));
  const text = seconds >= 60 ? `${Math.floor(seconds / 60)} min ${seconds % 60} s` : `${seconds} s`;
  return <span aria-live="off">(in {text})</span>;
}

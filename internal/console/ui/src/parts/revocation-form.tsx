import Autosuggest from "@cloudscape-design/components/autosuggest";
import Checkbox from "@cloudscape-design/components/checkbox";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { api, type Buckets, type RevocationConfiguration } from "../api";
import { useLoad } from "../load";

export type RevocationInput = {
  crl: boolean;
  bucket: string;
  days: string;
  type: "COMPLETE" | "PARTITIONED";
  cname: string;
  path: string;
  acl: "PUBLIC_READ" | "BUCKET_OWNER_FULL_CONTROL";
  omit: boolean;
  ocsp: boolean;
  ocspCname: string;
};

/** What a configuration looks like in the form; of none, what AWS's console begins with. */
export function revocationInput(r: RevocationConfiguration | undefined): RevocationInput {
  const c = r?.CrlConfiguration;
  return {
    crl: c?.Enabled ?? false,
    bucket: c?.S3BucketName ?? "",
    days: String(c?.ExpirationInDays ?? 7),
    type: c?.CrlType ?? "COMPLETE",
    cname: c?.CustomCname ?? "",
    path: c?.CustomPath ?? "",
    acl: c?.S3ObjectAcl === "BUCKET_OWNER_FULL_CONTROL" ? "BUCKET_OWNER_FULL_CONTROL" : "PUBLIC_READ",
    omit: c?.CrlDistributionPointExtensionConfiguration?.OmitExtension ?? false,
    ocsp: r?.OcspConfiguration?.Enabled ?? false,
    ocspCname: r?.OcspConfiguration?.OcspCustomCname ?? "",
  };
}

/** The configuration that the form asks for. What is off stands alone, as the API wants it. */
export function revocationOf(v: RevocationInput): RevocationConfiguration {
  return {
    CrlConfiguration: v.crl
      ? {
          Enabled: true,
          ExpirationInDays: Number(v.days),
          S3BucketName: v.bucket,
          S3ObjectAcl: v.acl,
          CrlType: v.type,
          ...(v.cname && { CustomCname: v.cname }),
          ...(v.path && { CustomPath: v.path }),
          ...(v.omit && { CrlDistributionPointExtensionConfiguration: { OmitExtension: true } }),
        }
      : { Enabled: false },
    OcspConfiguration: v.ocsp ? { Enabled: true, ...(v.ocspCname && { OcspCustomCname: v.ocspCname }) } : { Enabled: false },
  };
}

export type RevocationErrors = Partial<Record<keyof RevocationInput, string>>;

const host = /^[-a-zA-Z0-9;/?:@&=+$,%_.!~*()']*$/;

function checkName(name: string): string | undefined {
  if (name.includes("://")) return "Give the name without http:// or https://.";
  if (name.length > 253 || !host.test(name)) return "Give a name of at most 253 letters, digits and characters of URIs.";
  return undefined;
}

/** The rules of the API for the form's fields. */
export function checkRevocation(v: RevocationInput): RevocationErrors {
  const wrong: RevocationErrors = {};
  if (v.crl) {
    if (!/^[-a-zA-Z0-9._/]{3,255}$/.test(v.bucket)) wrong.bucket = "Give the name of a bucket.";
    if (!/^\d+$/.test(v.days) || Number(v.days) < 1 || Number(v.days) > 5000) wrong.days = "Give a number of days from 1 to 5000.";
    wrong.cname = checkName(v.cname) ?? (v.cname && v.omit ? "A custom name needs the extension, which you have chosen to omit." : undefined);
    if (v.path && (v.path.length > 253 || !/^[-a-zA-Z0-9;?:@&=+$,%_.!~*()']+(\/[-a-zA-Z0-9;?:@&=+$,%_.!~*()']+)*$/.test(v.path)))
      wrong.path = "Give a path such as crl/production, without a slash at its ends.";
  }
  if (v.ocsp) wrong.ocspCname = checkName(v.ocspCname);
  return Object.fromEntries(Object.entries(wrong).filter(([, words]) => words));
}

const none = Promise.resolve<Buckets>({ buckets: [], service: "" });

type Props = { value: RevocationInput; errors: RevocationErrors; onChange(next: RevocationInput): void };

export function RevocationForm({ value: v, errors, onChange }: Props) {
  const set = (change: Partial<RevocationInput>) => onChange({ ...v, ...change });
  const buckets = useLoad(v.crl ? "buckets" : "", (signal) => (v.crl ? api.buckets(signal) : none));
  return (
    <SpaceBetween size="l">
      <Checkbox checked={v.crl} onChange={(e) => set({ crl: e.detail.checked })} description="Lists of revoked certificates, as objects in an S3 bucket.">
        Activate CRL distribution
      </Checkbox>
      {v.crl && (
        <SpaceBetween size="l">
          <FormField
            label="S3 bucket name"
            description="An existing bucket whose policy lets acm-pca.amazonaws.com write, with s3:PutObject, s3:PutObjectAcl, s3:GetBucketAcl and s3:GetBucketLocation."
            errorText={errors.bucket}
          >
            <Autosuggest
              value={v.bucket}
              onChange={(e) => set({ bucket: e.detail.value })}
              options={(buckets.data?.buckets ?? []).map((b) => ({ value: b.name }))}
              enteredTextLabel={(name) => `Use “${name}”`}
              statusType={buckets.loading ? "loading" : "finished"}
              loadingText="Reading the list of buckets"
              ariaRequired
            />
          </FormField>
          <FormField label="Who may read the objects" stretch>
            <RadioGroup
              value={v.acl}
              onChange={(e) => set({ acl: e.detail.value as RevocationInput["acl"] })}
              items={[
                {
                  value: "PUBLIC_READ",
                  label: "Everybody (PUBLIC_READ)",
                  description: "Relying parties read the lists from the bucket. Its Block Public Access settings have to be off and its Object Ownership has to leave ACLs on; new buckets have both the other way.",
                },
                {
                  value: "BUCKET_OWNER_FULL_CONTROL",
                  label: "The bucket's owner (BUCKET_OWNER_FULL_CONTROL)",
                  description: "For buckets that block public access. Relying parties read the lists from what the custom CRL name below leads to; of a bucket of this server, from this server.",
                },
              ]}
            />
          </FormField>
          <FormField label="CRL type" stretch>
            <RadioGroup
              value={v.type}
              onChange={(e) => set({ type: e.detail.value as RevocationInput["type"] })}
              items={[
                { value: "COMPLETE", label: "Complete", description: "One list with all revoked certificates that have not expired." },
                { value: "PARTITIONED", label: "Partitioned", description: "Several lists; each certificate names the one that it would be in." },
              ]}
            />
          </FormField>
          <FormField label="CRL expiration (days)" description="How long a list is valid." constraintText="From 1 to 5000." errorText={errors.days}>
            <Input type="number" inputMode="numeric" value={v.days} onChange={(e) => set({ days: e.detail.value })} />
          </FormField>
          <ExpandableSection headerText="CRL settings" defaultExpanded={!!(v.cname || v.path || v.omit || errors.cname || errors.path)}>
            <SpaceBetween size="l">
              <FormField label="Custom CRL name (CNAME) - optional" description="Stands for the bucket's host in the certificates." errorText={errors.cname}>
                <Input value={v.cname} placeholder="crl.example.com" onChange={(e) => set({ cname: e.detail.value })} autoComplete={false} spellcheck={false} />
              </FormField>
              <FormField label="Custom path - optional" description="Where in the bucket the lists are, in place of crl/." errorText={errors.path}>
                <Input value={v.path} placeholder="crl/production" onChange={(e) => set({ path: e.detail.value })} autoComplete={false} spellcheck={false} />
              </FormField>
              <Checkbox checked={v.omit} onChange={(e) => set({ omit: e.detail.checked })} description="Certificates then do not say where the CRL is.">
                Omit the CRL distribution point (CDP) extension
              </Checkbox>
            </SpaceBetween>
          </ExpandableSection>
        </SpaceBetween>
      )}
      <Checkbox checked={v.ocsp} onChange={(e) => set({ ocsp: e.detail.checked })} description="Answers about single certificates, over HTTP.">
        Turn on OCSP
      </Checkbox>
      {v.ocsp && (
        <FormField label="Custom OCSP endpoint (CNAME) - optional" errorText={errors.ocspCname}>
          <Input value={v.ocspCname} placeholder="ocsp.example.com" onChange={(e) => set({ ocspCname: e.detail.value })} autoComplete={false} spellcheck={false} />
        </FormField>
      )}
    </SpaceBetween>
  );
}

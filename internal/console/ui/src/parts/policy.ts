import { templateName } from "../text";

type Many = string | string[];
export type Statement = {
  Sid?: string;
  Effect?: string;
  Principal?: "*" | Record<string, Many>;
  Action?: Many;
  Resource?: Many;
  Condition?: Record<string, Record<string, Many>>;
};
export type Policy = { Version?: string; Id?: string; Statement?: Statement | Statement[] };

/** What other accounts need to use a CA at all. */
const reads = ["DescribeCertificateAuthority", "GetCertificate", "GetCertificateAuthorityCertificate", "ListPermissions", "ListTags"];

const many = (v: Many | undefined): string[] => (v === undefined ? [] : Array.isArray(v) ? v : [v]);

/** The statements of a policy's text; an error when it is not a policy. */
export function statementsOf(text: string): Statement[] {
  const p = JSON.parse(text) as Policy | null;
  const s = p?.Statement;
  const list = s === undefined ? [] : Array.isArray(s) ? s : [s];
  if (list.some((one) => typeof one !== "object" || one === null)) throw new Error("a Statement is not an object");
  return list;
}

/** What is wrong with a policy's text before the server looks into it; "" when nothing is. */
export function checkPolicy(text: string): string {
  if (!text.trim()) return "Write a policy.";
  if (text.length > 81920) return "At most 81920 characters are possible.";
  if (/[^\t\n\r\x20-\xff]/.test(text)) return "Only printable characters of Latin-1 are possible.";
  try {
    return statementsOf(text).length > 0 ? "" : "It has no Statement.";
  } catch (e) {
    return `It is not a policy in JSON: ${(e as Error).message}.`;
  }
}

/** What one statement grants or denies, in words. */
export type Grant = { deny: boolean; who: string[]; what: string[]; templates: string[]; conditions: string[] };

export function inWords(s: Statement): Grant {
  const conditions: string[] = [];
  const templates: string[] = [];
  let everybody = "Everybody";
  for (const [operator, keys] of Object.entries(s.Condition ?? {})) {
    for (const [key, values] of Object.entries(keys)) {
      const list = many(values);
      const plain = /^(String|Arn)(Equals|Like)(IgnoreCase)?$/.test(operator);
      switch (plain ? key.toLowerCase() : "") {
        case "acm-pca:templatearn":
          templates.push(...list.map(templateName));
          continue;
        case "aws:principalorgid":
          everybody = `Every account of the organization ${list.join(" or ")}`;
          continue;
        case "aws:principalaccount":
          everybody = `Everybody in the account ${list.join(" or ")}`;
          continue;
      }
      if (operator === "StringNotEquals" && key.toLowerCase() === "aws:principalaccount") conditions.push(`Not for the account ${list.join(", ")}`);
      else conditions.push(`${operator} ${key}: ${list.join(", ")}`);
    }
  }
  const who = s.Principal === "*" ? [everybody] : Object.entries(s.Principal ?? {}).flatMap(([type, of]) => many(of).map((p) => principal(type, p, everybody)));
  const actions = many(s.Action).map((a) => a.replace(/^acm-pca:/i, ""));
  const what: string[] = [];
  if (reads.every((r) => actions.includes(r))) what.push("Describe the CA, and read its certificates, permissions and tags");
  else what.push(...actions.filter((a) => reads.includes(a)));
  what.push(...actions.filter((a) => !reads.includes(a)).map((a) => (a === "IssueCertificate" ? "Issue certificates" : a === "RevokeCertificate" ? "Revoke certificates" : a)));
  if (actions.includes("IssueCertificate") && templates.length === 0 && s.Effect === "Allow") templates.push("The six templates that can be shared");
  return { deny: s.Effect !== "Allow", who, what, templates, conditions };
}

function principal(type: string, p: string, everybody: string): string {
  if (p === "*") return everybody;
  if (type === "Service") return `The service ${p}`;
  const f = /^arn:[^:]+:iam::(\d{12}):(root|(user|role)\/(.+))$/.exec(p);
  if (f) return f[2] === "root" ? `The account ${f[1]}` : `The ${f[3]} ${f[4]} of the account ${f[1]}`;
  return /^\d{12}$/.test(p) ? `The account ${p}` : p;
}

/** What a CA is commonly shared for. ram is the name of AWS's managed permission of the same effect. */
export const permissions: { value: string; label: string; template: string; ram?: string }[] = [
  { value: "default", label: "Issue end-entity certificates", template: "EndEntityCertificate/V1", ram: "AWSRAMDefaultPermissionCertificateAuthority" },
  { value: "client", label: "Issue certificates for client authentication", template: "EndEntityClientAuthCertificate/V1" },
  { value: "server", label: "Issue certificates for server authentication", template: "EndEntityServerAuthCertificate/V1" },
  {
    value: "api",
    label: "Issue with API passthrough",
    template: "BlankEndEntityCertificate_APIPassthrough/V1",
    ram: "AWSRAMBlankEndEntityCertificateAPIPassthroughIssuanceCertificateAuthority",
  },
  {
    value: "apicsr",
    label: "Issue with API and CSR passthrough",
    template: "BlankEndEntityCertificate_APICSRPassthrough/V1",
    ram: "AWSRAMBlankEndEntityCertificateAPICSRPassthroughIssuanceCertificateAuthority",
  },
  {
    value: "subordinate",
    label: "Issue subordinate CAs of path length 0",
    template: "SubordinateCACertificate_PathLen0/V1",
    ram: "AWSRAMSubordinateCACertificatePathLen0IssuanceCertificateAuthority",
  },
  { value: "read", label: "Read only", template: "" },
];

export type ShareInput = { with: "account" | "organization" | "principal"; name: string; permission: string; revoke: boolean };

/** What is wrong with whom a CA is to be shared with; "" when nothing is. */
export function checkShare(v: ShareInput, owner: string): string {
  const name = v.name.trim();
  switch (v.with) {
    case "account":
      if (!/^\d{12}$/.test(name)) return "Give the 12 digits of an account.";
      return name === owner ? "That is the account that owns the CA. Give another one." : "";
    case "organization":
      return /^o-[a-z0-9]+$/.test(name) ? "" : "Give the id of an organization, such as o-a1b2c3d4e5.";
    case "principal":
      return /^arn:[^:]+:iam::\d{12}:(user|role)\/\S+$/.test(name) ? "" : "Give the ARN of a user or a role, such as arn:aws:iam::111122223333:role/issuing.";
  }
}

/** The statements that a share stands for, as RAM would write them. */
export function shareStatements(v: ShareInput, ca: string): Statement[] {
  const [, partition, , , owner] = ca.split(":");
  const name = v.name.trim();
  const condition = v.with === "organization" ? { StringEquals: { "aws:PrincipalOrgID": name }, StringNotEquals: { "aws:PrincipalAccount": owner! } } : undefined;
  const base: Statement = { Effect: "Allow", Principal: v.with === "organization" ? "*" : { AWS: name } };
  const statement = (actions: string[], more?: Record<string, string>): Statement => ({
    ...base,
    Action: actions.length === 1 ? actions[0] : actions,
    Resource: ca,
    ...((condition || more) && { Condition: { ...condition, ...(more && { StringEquals: { ...condition?.StringEquals, ...more } }) } }),
  });
  const template = permissions.find((p) => p.value === v.permission)?.template ?? "";
  return [
    statement(reads.map((r) => `acm-pca:${r}`)),
    ...(template ? [statement(["acm-pca:IssueCertificate"], { "acm-pca:TemplateArn": `arn:${partition}:acm-pca:::template/${template}` })] : []),
    ...(v.revoke ? [statement(["acm-pca:RevokeCertificate"])] : []),
  ];
}

/** With how many a policy shares a CA, whatever each of them may do: several statements for the same ones are one share. */
export function shareCount(statements: Statement[]): number {
  const whom = statements.filter((s) => s.Effect === "Allow").map((s) => JSON.stringify(inWords(s).who));
  return new Set(whom).size;
}

/** A policy's text with statements added; those that are there already are not added again. */
export function withStatements(text: string, add: Statement[]): string {
  const old = text ? statementsOf(text) : [];
  const known = new Set(old.map((s) => JSON.stringify(s)));
  const policy = text ? (JSON.parse(text) as Policy) : { Version: "2012-10-17" };
  return JSON.stringify({ ...policy, Statement: [...old, ...add.filter((s) => !known.has(JSON.stringify(s)))] }, null, 2);
}

/** A policy's text without one statement; "" when none is left. */
export function withoutStatement(text: string, index: number): string {
  const left = statementsOf(text).filter((_, i) => i !== index);
  return left.length > 0 ? JSON.stringify({ ...(JSON.parse(text) as Policy), Statement: left }, null, 2) : "";
}

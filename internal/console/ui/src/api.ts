// What the server says and takes. Routes of the console's own have RFC 3339
// times; call() speaks the API itself, whose times are seconds since the epoch.

/** An answer that is an error: the API's code and its message for people. */
export class ApiError extends Error {
  constructor(
    readonly status: number,
    readonly code: string,
    message: string,
  ) {
    super(message);
  }
}

/** There is no session, or it is over. */
export function isSessionOver(e: unknown): boolean {
  return e instanceof ApiError && e.status === 401;
}

let csrf = "";
let sessionOver: () => void = () => {};

/** Requests carry the token from now on; over is called when the server knows the session no more. */
export function useToken(token: string, over: () => void) {
  csrf = token;
  sessionOver = over;
}

type Options = {
  method?: "GET" | "POST" | "DELETE";
  body?: unknown;
  query?: Record<string, string | number | undefined>;
  signal?: AbortSignal;
  /** Polling: does not keep a session alive that nobody uses. */
  background?: boolean;
};

export async function request<T>(path: string, o: Options = {}): Promise<T> {
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries(o.query ?? {})) {
    if (value !== undefined && value !== "") query.set(name, String(value));
  }
  const url = `/console/api/${path}${query.size ? `?${query}` : ""}`;
  const headers: Record<string, string> = {};
  if (o.body !== undefined) headers["Content-Type"] = "application/json";
  if (o.method && o.method !== "GET") headers["X-CSRF-Token"] = csrf;
  if (o.background) headers["X-Background"] = "1";
  let response: Response;
  try {
    response = await fetch(url, {
      method: o.method ?? "GET",
      headers,
      body: o.body === undefined ? undefined : JSON.stringify(o.body),
      signal: o.signal,
      credentials: "same-origin",
    });
  } catch (e) {
    if (o.signal?.aborted) throw e;
    throw new ApiError(0, "Unreachable", "The server does not answer. Look whether it runs, and try again.");
  }
  const text = await response.text();
  let body: unknown;
  try {
    body = text ? JSON.parse(text) : undefined;
  } catch {
    throw new ApiError(response.status, "Unreadable", `The server answered ${response.status} with something that is not JSON.`);
  }
  if (response.ok) return body as T;
  const failure = body as { __type?: string; message?: string } | undefined;
  if (response.status === 401 && path !== "session") sessionOver();
  throw new ApiError(response.status, failure?.__type ?? "Unknown", failure?.message ?? `The server answered ${response.status}.`);
}

/** One operation of the API, with the rights of whoever is signed in. */
export function call<Out = Record<string, never>>(operation: string, input: unknown, signal?: AbortSignal): Promise<Out> {
  return request<Out>(`call/${operation}`, { method: "POST", body: input, signal });
}

export type Settings = {
  version: string;
  region: string;
  partition: string;
  idleSeconds: number;
  minIntervalSeconds: number;
  destination: string;
  oidc: { name: string } | null;
};

export type Session = {
  account: string;
  arn: string;
  userId: string;
  csrf: string;
  idleExpires: string;
  expires: string;
  region: string;
  partition: string;
};

export type Decision = { allowed: boolean; reason: string };

export type ASN1Subject = Partial<
  Record<
    | "Country" | "Organization" | "OrganizationalUnit" | "DistinguishedNameQualifier" | "State" | "CommonName" | "SerialNumber"
    | "Locality" | "Title" | "Surname" | "GivenName" | "Initials" | "Pseudonym" | "GenerationQualifier",
    string
  >
> & { CustomAttributes?: { ObjectIdentifier: string; Value: string }[] };

export type CrlConfiguration = {
  Enabled: boolean;
  ExpirationInDays?: number;
  CustomCname?: string;
  S3BucketName?: string;
  S3ObjectAcl?: string;
  CrlDistributionPointExtensionConfiguration?: { OmitExtension: boolean };
  CrlType?: "COMPLETE" | "PARTITIONED";
  CustomPath?: string;
};

export type RevocationConfiguration = {
  CrlConfiguration?: CrlConfiguration;
  OcspConfiguration?: { Enabled: boolean; OcspCustomCname?: string };
};

export type Status = "CREATING" | "PENDING_CERTIFICATE" | "ACTIVE" | "DELETED" | "DISABLED" | "EXPIRED" | "FAILED";

/** The newest CRL of a list, base or delta. */
export type SignedCrl = {
  number: string;
  thisUpdate: string;
  nextUpdate: string;
  entries: number;
  bytes: number;
  covered: number; // entries of the log
  writtenAt?: string; // to the bucket; absent: not yet
};

/** A place that the CRLs of a CA have: a complete list, or a partition. */
export type RevocationList = Partial<SignedCrl> & {
  id: number;
  uri: string;
  bucket: string;
  key: string;
  partitioned: boolean;
  open: boolean; // certificates are still bound to it
  active: boolean; // it is renewed
  replacedBy?: number; // the list that is renewed at the same place
  certificates: number;
  delta?: SignedCrl;
  due?: string;
  failure?: string;
  failedAt?: string;
};

/** A certificate authority as the API describes it. */
export type CertificateAuthority = {
  Arn: string;
  OwnerAccount: string;
  CreatedAt: number;
  LastStateChangeAt?: number;
  Type: "ROOT" | "SUBORDINATE";
  Serial?: string;
  Status: Status;
  NotBefore?: number;
  NotAfter?: number;
  FailureReason?: string;
  CertificateAuthorityConfiguration: { KeyAlgorithm: string; SigningAlgorithm: string; Subject: ASN1Subject };
  RevocationConfiguration?: RevocationConfiguration;
  RestorableUntil?: number;
  KeyStorageSecurityStandard?: string;
  UsageMode?: "GENERAL_PURPOSE" | "SHORT_LIVED_CERTIFICATE";
};

export type Extension = { name: string; oid: string; critical: boolean; value: string };

export type Decoded = {
  subject: string;
  issuer: string;
  serial: string;
  notBefore: string;
  notAfter: string;
  keyAlgorithm: string;
  signatureAlgorithm: string;
  sha256: string;
  subjectKeyId: string;
  authorityKeyId: string;
  extensions: Extension[];
  pem: string;
};

export type HierarchyNode = {
  subject: string;
  arn: string;
  status: string;
  type: string;
  current: boolean;
  children: HierarchyNode[];
};

export type ReportStatus = "CREATING" | "SUCCESS" | "FAILED";

export type Report = {
  id: string;
  bucket: string;
  key: string;
  format: "JSON" | "CSV";
  status: ReportStatus;
  reason: string;
  createdAt: string;
  finishedAt?: string;
  rows: number;
  revoked: number;
  bytes: number;
  sha256: string;
  entries: number;
  done: number;
  total: number;
  proof: "NONE" | "SIGNED" | "VERIFIED" | "FAILED";
  verifiedAt?: string;
};

/** Whether a report can be asked for now; if not, why, and when it can. */
export type ReportAllowed = { allowed: boolean; reason: string; at: string | null };

export type OverviewRow = {
  authority: CertificateAuthority;
  reportAllowed: ReportAllowed;
  issued: number | null; // null: not counted yet, or another account's
  revoked: number | null;
  shared: boolean;
  lastReport: Report | null;
};

export type Authority = {
  authority: CertificateAuthority;
  issued: number | null; // null: not counted yet, or another account's
  revoked: number | null;
  logSize: number | null; // null: another account's
  certificate: Decoded | null;
  chain: Decoded[];
  hierarchy: HierarchyNode;
  lastReport: Report | null;
  reportAllowed: ReportAllowed;
};

export type LogEvent = {
  index: number;
  time: string;
  type: "GENESIS" | "SIGN" | "REPORT" | "KEY" | "RECOVERY" | "CRL" | "ISSUE" | "REVOKE";
  label: string;
  detail: string;
  serial?: string;
};

/** UNKNOWN: whoever asks may not search certificates, and is not told. */
export type CertificateStatus = "VALID" | "REVOKED" | "EXPIRED" | "UNKNOWN";

export type Certificate = {
  serial: string;
  arn: string;
  subject: string;
  template: string;
  account: string;
  principal: string;
  keyAlgorithm: string;
  notBefore: string;
  notAfter: string;
  issuedAt: string;
  status: CertificateStatus;
  revokedAt?: string;
  revocationReason?: string;
  index: number;
};

export type CertificateQuery = {
  subject?: string;
  serial?: string;
  status?: CertificateStatus | "";
  template?: string;
  issuedFrom?: string;
  issuedTo?: string;
  expiresFrom?: string;
  expiresTo?: string;
  limit?: number;
  cursor?: string;
};

export type CertificatePage = { certificates: Certificate[]; cursor: string; behind: number };

export type CertificateDetails = { certificate: Certificate; decoded: Decoded; pem: string; chainPem: string };

export type Statistics = {
  issued: number;
  revoked: number;
  valid: number;
  expired: number;
  perDay: { date: string; issued: number; revoked: number }[];
  expiring: { date: string; count: number }[];
  templates: { name: string; count: number }[];
  keyAlgorithms: { name: string; count: number }[];
  behind: number;
};

export type Template = {
  arn: string;
  name: string;
  description: string;
  ca: boolean;
  selfSigned: boolean;
  /** null: no path length constraint. */
  pathLen: number | null;
  apiPassthrough: boolean;
  csrPassthrough: boolean;
  /** One of those that AWS lets other accounts use by sharing alone. */
  crossAccount: boolean;
};

export type Preview = { columns: string[]; rows: string[][]; more: boolean };

export type Verdict = { name: string; status: "pass" | "fail" | "unknown"; class?: string; words: string };

export type Verification = {
  state: "NONE" | "RUNNING" | "DONE" | "ERROR";
  done: number;
  total: number;
  startedAt?: string;
  finishedAt?: string;
  verdicts?: Verdict[];
  notProven?: string[];
  rows?: number;
  revoked?: number;
  entries?: number;
  error?: string;
};

export type Buckets = { buckets: { name: string; createdAt: string }[]; service: string };

export type BucketState = { exists: boolean; allowed: boolean; reason: string; policy: string; needed: string };

export const api = {
  settings: () => request<Settings>("settings"),
  session: () => request<Session>("session", { background: true }),
  signIn: (accessKeyId: string, secretAccessKey: string, sessionToken: string) =>
    request<Session>("session", { method: "POST", body: { accessKeyId, secretAccessKey, sessionToken: sessionToken || undefined } }),
  signOut: () => request<void>("session", { method: "DELETE" }),
  /** template is IssueCertificate's; without one the default is meant. */
  may: (resource: string, actions: string[], signal?: AbortSignal, template?: string) =>
    request<{ decisions: Record<string, Decision> }>("may", { method: "POST", body: { resource, actions, template }, signal }),
  overview: (signal?: AbortSignal) => request<{ authorities: OverviewRow[] }>("overview", { signal }),
  authority: (ca: string, signal?: AbortSignal, background = false) => request<Authority>("authority", { query: { ca }, signal, background }),
  events: (ca: string, cursor: string, kind: string, signal?: AbortSignal) =>
    request<{ events: LogEvent[]; cursor: string }>("events", { query: { ca, cursor, kind }, signal }),
  certificates: (ca: string, q: CertificateQuery, signal?: AbortSignal) => request<CertificatePage>("certificates", { query: { ca, ...q }, signal }),
  certificate: (ca: string, serial: string, signal?: AbortSignal) => request<CertificateDetails>("certificate", { query: { ca, serial }, signal }),
  statistics: (ca: string, signal?: AbortSignal) => request<Statistics>("statistics", { query: { ca }, signal }),
  templates: (signal?: AbortSignal) => request<Template[]>("templates", { signal }),
  reports: (ca: string, cursor: string, signal?: AbortSignal, background = false) =>
    request<{ reports: Report[]; cursor: string }>("reports", { query: { ca, cursor, limit: 20 }, signal, background }),
  report: (ca: string, report: string, signal?: AbortSignal, background = false) => request<Report>("report", { query: { ca, report }, signal, background }),
  reportLink: (ca: string, report: string, file: "report" | "manifest") =>
    request<{ url: string; expires: string }>("report/link", { query: { ca, report, file } }),
  preview: (ca: string, report: string, signal?: AbortSignal) => request<Preview>("report/preview", { query: { ca, report }, signal }),
  verification: (ca: string, report: string, signal?: AbortSignal) =>
    request<Verification>("report/verification", { query: { ca, report }, signal, background: true }),
  verify: (ca: string, report: string) => request<Verification>("report/verification", { method: "POST", body: { ca, report } }),
  crls: (ca: string, signal?: AbortSignal) => request<{ crls: RevocationList[]; ocspUrl: string }>("crls", { query: { ca }, signal, background: true }),
  publishCrls: (ca: string) => request<{ crls: RevocationList[] }>("crls/publish", { method: "POST", body: { ca } }),
  buckets: (signal?: AbortSignal) => request<Buckets>("buckets", { signal }),
  bucket: (ca: string, bucket: string, signal?: AbortSignal) => request<BucketState>("bucket", { query: { ca, bucket }, signal }),
  attachPolicy: (ca: string, bucket: string) => request<BucketState>("bucket/policy", { method: "POST", body: { ca, bucket } }),
  createBucket: (ca: string, bucket: string) => request<BucketState>("bucket", { method: "POST", body: { ca, bucket } }),
};

import type { ASN1Subject, Report, ReportAllowed, Status } from "./api";

const numbers = new Intl.NumberFormat("en");
export const count = (n: number | null) => (n === null ? "–" : numbers.format(n));

export function bytes(n: number): string {
  const units = ["B", "KiB", "MiB", "GiB", "TiB"];
  let i = 0;
  for (; n >= 1024 && i < units.length - 1; i++) n /= 1024;
  return `${i === 0 ? n : n.toFixed(n < 10 ? 1 : 0)} ${units[i]}`;
}

/** A time for people, in UTC: certificates and reports have no other. */
export function time(t: string | number | undefined | null): string {
  if (t === undefined || t === null || t === "") return "–";
  const d = typeof t === "number" ? new Date(t * 1000) : new Date(t);
  return Number.isNaN(d.getTime()) ? "–" : `${d.toISOString().slice(0, 19).replace("T", " ")} UTC`;
}

export function day(t: string | number | undefined | null): string {
  const s = time(t);
  return s === "–" ? s : s.slice(0, 10);
}

const short: [keyof ASN1Subject, string][] = [
  ["CommonName", "CN"],
  ["OrganizationalUnit", "OU"],
  ["Organization", "O"],
  ["Locality", "L"],
  ["State", "ST"],
  ["Country", "C"],
];

/** A subject in one line; its common name first, for lists. */
export function subject(s: ASN1Subject | undefined): string {
  if (!s) return "–";
  const parts = short.flatMap(([name, label]) => (s[name] ? [`${label}=${s[name] as string}`] : []));
  const custom = (s.CustomAttributes ?? []).map((a) => `${a.ObjectIdentifier}=${a.Value}`);
  return [...parts, ...custom].join(", ") || "–";
}

/** A distinguished name as the server writes it, with the space after commas that lists have. */
export const spaced = (name: string) => name.replace(/(?<!\\),(?=[A-Za-z0-9.]+=)/g, ", ");

export const idOf = (arn: string) => arn.slice(arn.lastIndexOf("/") + 1);
export const accountOf = (arn: string) => arn.split(":")[4] ?? "";

/** The template's name: the ARN without what all of them begin with. */
export const templateName = (arn: string) => (arn ? arn.slice(arn.indexOf("template/") + "template/".length) : "–");

/** ACTIVE as Active, PENDING_CERTIFICATE as Pending certificate. */
export function words(constant: string): string {
  const s = constant.toLowerCase().replaceAll("_", " ");
  return s.charAt(0).toUpperCase() + s.slice(1);
}

/** The usage mode of a CA, as AWS' console says it. */
export const modeName = (mode: string | undefined) => (mode === "SHORT_LIVED_CERTIFICATE" ? "Short-lived certificate" : "General-purpose");

/** That the last report was not long enough ago. */
export function waited(last: Report, next: string): string {
  const seconds = Math.round((Date.parse(next) - Date.parse(last.createdAt)) / 1000);
  const often = seconds < 120 ? `${seconds} seconds` : `${Math.round(seconds / 60)} minutes`;
  return `The last audit report was generated ${time(last.createdAt)}, and there is at most one every ${often}.`;
}

/** Why no audit report can be generated now; "" when one can. The server's own reason is worded for callers of the API. */
export function whyNoReport({ allowed, reason, at }: ReportAllowed, status: Status | undefined, last: Report | null | undefined): string {
  if (allowed) return "";
  if (at) return `${last ? waited(last, at) : reason} Possible from ${time(at)}.`;
  if (status === "DELETED") return "The private CA is deleted; restore it first.";
  if (status === "CREATING" || status === "PENDING_CERTIFICATE") return "The private CA has issued nothing yet; install its certificate first.";
  if (last?.status === "CREATING") return "The last audit report is still being created; wait until it is done.";
  return reason;
}

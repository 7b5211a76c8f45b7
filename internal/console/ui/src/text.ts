import type { ASN1Subject } from "./api";

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

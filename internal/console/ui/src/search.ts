import type { CertificateQuery } from "./api";

/** What is asked for on the certificates' tab: in the address, so that it can be sent and comes back after a reload. */
export const filters = ["q", "in", "status", "template", "issuedFrom", "issuedTo", "expiresFrom", "expiresTo"] as const;
export type Filter = (typeof filters)[number];

/** Whether a text is meant as a serial number: hexadecimal digits in pairs, or enough of them. */
export function looksLikeSerial(text: string): boolean {
  const t = text.trim();
  return /^[0-9a-f]{2}(:[0-9a-f]{2})+:?$/i.test(t) || (/^[0-9a-f]{8,}$/i.test(t) && /\d/.test(t));
}

/** What the text is looked for in. */
export function searchedIn(params: URLSearchParams): "serial" | "subject" {
  const chosen = params.get("in");
  if (chosen === "serial" || chosen === "subject") return chosen;
  return looksLikeSerial(params.get("q") ?? "") ? "serial" : "subject";
}

export function isDay(s: string): boolean {
  return /^\d{4}-\d{2}-\d{2}$/.test(s) && !Number.isNaN(Date.parse(s)) && new Date(s).toISOString().startsWith(s);
}

const dayMs = 24 * 60 * 60 * 1000;

/** The beginning of a day, or of the one after it: to includes its day. */
function instant(s: string | null, days = 0): string | undefined {
  return s && isDay(s) ? new Date(Date.parse(s) + days * dayMs).toISOString() : undefined;
}

/** What the server is asked for. */
export function queryOf(params: URLSearchParams): CertificateQuery {
  const text = (params.get("q") ?? "").trim();
  return {
    [searchedIn(params)]: text,
    status: (params.get("status") ?? "") as CertificateQuery["status"],
    template: params.get("template") ?? "",
    issuedFrom: instant(params.get("issuedFrom")),
    issuedTo: instant(params.get("issuedTo"), 1),
    expiresFrom: instant(params.get("expiresFrom")),
    expiresTo: instant(params.get("expiresTo"), 1),
  };
}

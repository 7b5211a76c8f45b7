const reservedStarts = ["xn--", "sthree-"];
const reservedEnds = ["-s3alias", "--ol-s3", ".mrap", "--x-s3", "--table-s3"];

/**
 * What is wrong with the name of a bucket by S3's rules, which the server holds
 * it to as well; "" when nothing is. typing leaves out what more typing mends.
 */
export function bucketNameProblem(name: string, typing: boolean): string {
  if (name.length > 63) return `A bucket name has at most 63 characters; this one has ${name.length}.`;
  if (/[A-Z]/.test(name)) return "A bucket name has no capital letters.";
  const stranger = /[^a-z0-9.-]/u.exec(name);
  if (stranger) return `A bucket name holds lower-case letters, digits, dots and hyphens only, not “${stranger[0]}”.`;
  if (/^[.-]/.test(name)) return "A bucket name begins with a letter or a digit.";
  if (name.includes("..")) return "In a bucket name two dots do not follow each other.";
  for (const p of reservedStarts) if (name.startsWith(p)) return `Names that begin with ${p} are reserved.`;
  if (typing) return "";
  if (name === "") return "Type a name for the bucket.";
  if (name.length < 3) return "A bucket name has at least 3 characters.";
  if (/[.-]$/.test(name)) return "A bucket name ends with a letter or a digit.";
  if (/^\d{1,3}(\.\d{1,3}){3}$/.test(name)) return "A bucket name does not look like an IP address.";
  for (const s of reservedEnds) if (name.endsWith(s)) return `Names that end with ${s} are reserved.`;
  return "";
}

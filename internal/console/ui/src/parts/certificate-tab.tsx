import type { TabProps } from "./tab";

export default function CertificateTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

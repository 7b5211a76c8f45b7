import type { TabProps } from "./tab";

export default function CertificatesTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

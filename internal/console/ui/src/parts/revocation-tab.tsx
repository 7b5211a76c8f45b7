import type { TabProps } from "./tab";

export default function RevocationTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

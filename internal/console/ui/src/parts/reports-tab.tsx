import type { TabProps } from "./tab";

export default function ReportsTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

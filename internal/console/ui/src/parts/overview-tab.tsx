import type { TabProps } from "./tab";

export default function OverviewTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

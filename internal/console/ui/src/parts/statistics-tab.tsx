import type { TabProps } from "./tab";

export default function StatisticsTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

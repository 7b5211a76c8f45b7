import type { TabProps } from "./tab";

export default function EventsTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

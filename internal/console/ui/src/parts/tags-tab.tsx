import type { TabProps } from "./tab";

export default function TagsTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

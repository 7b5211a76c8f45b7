import type { TabProps } from "./tab";

export default function SharingTab({ details }: TabProps) {
  return <p>{details.authority.Arn}</p>;
}

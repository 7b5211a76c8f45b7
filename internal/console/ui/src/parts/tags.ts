import type { TagEditorProps } from "@cloudscape-design/components/tag-editor";

export const maxTags = 50;

/** The API's tags, as the tags of an editor that can be taken away again. */
export const asRows = (tags: readonly Tag[]): TagEditorProps.Tag[] => tags.map((t) => ({ key: t.Key, value: t.Value ?? "", existing: true }));

export type Tag = { Key: string; Value?: string };

/** What the server refuses and the editor does not: keys of AWS's databases. */
export function checkTags(tags: readonly TagEditorProps.Tag[]): string {
  const taken = tags.find((t) => t.key.startsWith("rds:") && !t.markedForRemoval && !t.existing);
  return taken ? `The key ${taken.key} begins with rds:, which is reserved.` : "";
}

import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import SpaceBetween from "@cloudscape-design/components/space-between";

type Props = { verb?: string; running: boolean; hindrance?: string; onSave(): void; onCancel(): void };

/** The two buttons at the end of a form. */
export function SaveCancel({ verb = "Save changes", running, hindrance = "", onSave, onCancel }: Props) {
  return (
    <Box float="right">
      <SpaceBetween direction="horizontal" size="xs">
        <Button variant="link" disabled={running} onClick={onCancel}>
          Cancel
        </Button>
        <Button variant="primary" loading={running} disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={onSave}>
          {verb}
        </Button>
      </SpaceBetween>
    </Box>
  );
}

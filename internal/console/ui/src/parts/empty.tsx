import Box from "@cloudscape-design/components/box";
import SpaceBetween from "@cloudscape-design/components/space-between";
import type { ReactNode } from "react";

/** What stands in a table that has no rows: what is missing, why, and what can be done about it. */
export function Empty({ title, children, action }: { title: string; children: ReactNode; action?: ReactNode }) {
  return (
    <Box textAlign="center">
      <SpaceBetween size="m">
        <div>
          <Box variant="strong">{title}</Box>
          <Box color="text-body-secondary">{children}</Box>
        </div>
        {action}
      </SpaceBetween>
    </Box>
  );
}

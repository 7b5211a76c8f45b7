import Box from "@cloudscape-design/components/box";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import Table, { type TableProps } from "@cloudscape-design/components/table";
import { api, type Report } from "../api";
import { useLoad } from "../load";
import { count } from "../text";
import { Loading } from "./loading";

const widths: Record<string, number> = { certificateArn: 280, serial: 200, subject: 320, templateArn: 260, requestedByServicePrincipal: 220 };

/** What is much the same in all rows, or told by the serial number, stands last. */
const last = ["certificateArn", "awsAccountId", "requestedByServicePrincipal"];

/** The first rows of a report. */
export function ReportPreview({ ca, report }: { ca: string; report: Report }) {
  const preview = useLoad(`${ca} ${report.id}`, (signal) => api.preview(ca, report.id, signal));
  return (
    <Loading of={preview} what="first rows">
      {(p) => {
        const columns = p.columns.map<TableProps.ColumnDefinition<string[]>>((name, i) => ({
          id: name,
          header: name,
          width: widths[name] ?? 180,
          minWidth: 80,
          isRowHeader: name === "serial",
          cell: (row) => row[i] || <Box color="text-status-inactive">–</Box>,
        }));
        columns.sort((a, b) => last.indexOf(a.id!) - last.indexOf(b.id!)); // stable: those that are not there keep their order, in front
        return (
          <Table
            header={
              <Header variant="h2" counter={`(${p.more ? `${p.rows.length} of ${count(report.rows)}` : p.rows.length})`} description="With the names and values that the file has, and its first three fields last.">
                First rows
              </Header>
            }
            items={p.rows}
            trackBy={(row) => row.join("\n")}
            columnDefinitions={columns}
            resizableColumns
            enableKeyboardNavigation
            ariaLabels={{ tableLabel: "First rows of the report" }}
            empty={<Box textAlign="center">The report has no rows: the private CA has issued nothing.</Box>}
          />
        );
      }}
    </Loading>
  );
}

/** Why there is no preview. */
export function NoPreview({ reason }: { reason: string }) {
  return (
    <Container header={<Header variant="h2">First rows</Header>}>
      <Box color="text-body-secondary">{reason}</Box>
    </Container>
  );
}

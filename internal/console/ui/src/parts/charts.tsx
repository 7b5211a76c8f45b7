import BarChart from "@cloudscape-design/components/bar-chart";
import Box from "@cloudscape-design/components/box";
import ColumnLayout from "@cloudscape-design/components/column-layout";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Header from "@cloudscape-design/components/header";
import PieChart from "@cloudscape-design/components/pie-chart";
import Table from "@cloudscape-design/components/table";
import type { ReactNode } from "react";
import type { Statistics } from "../api";
import { count, templateName } from "../text";

/** Statistics as pictures, each with its figures in a table. A chunk of its own: pictures are heavy. */
export default function Charts({ statistics: s }: { statistics: Statistics }) {
  const happened = s.perDay.filter((d) => d.issued || d.revoked);
  const ending = s.expiring.filter((d) => d.count);
  const most = (n: number) => [0, Math.max(4, n)];
  return (
    <>
      <Picture
        title="Issued and revoked per day"
        description="The last 90 days."
        columns={["Day", "Issued", "Revoked"]}
        rows={happened.map((d) => [d.date, count(d.issued), count(d.revoked)])}
      >
        <BarChart
          ariaLabel="Certificates issued and revoked per day"
          ariaDescription="Bars for each of the last 90 days; the figures are in the table below."
          height={240}
          hideFilter
          xScaleType="categorical"
          xDomain={s.perDay.map((d) => d.date)}
          yDomain={most(Math.max(0, ...s.perDay.map((d) => d.issued + d.revoked)))}
          xTitle="Day (UTC)"
          yTitle="Certificates"
          yTickFormatter={whole}
          stackedBars
          series={
            happened.length
              ? [
                  { type: "bar", title: "Issued", valueFormatter: count, data: s.perDay.map((d) => ({ x: d.date, y: d.issued })) },
                  { type: "bar", title: "Revoked", valueFormatter: count, data: s.perDay.map((d) => ({ x: d.date, y: d.revoked })) },
                ]
              : []
          }
          empty={<None>Nothing was issued or revoked in these days.</None>}
        />
      </Picture>
      <Picture
        title="Expiring in the next 90 days"
        description="Certificates that are not revoked, by the day on which they expire."
        columns={["Day", "Expiring"]}
        rows={ending.map((d) => [d.date, count(d.count)])}
      >
        <BarChart
          ariaLabel="Certificates that expire, per day"
          ariaDescription="Bars for each of the next 90 days; the figures are in the table below."
          height={200}
          hideFilter
          hideLegend
          xScaleType="categorical"
          xDomain={s.expiring.map((d) => d.date)}
          yDomain={most(Math.max(0, ...s.expiring.map((d) => d.count)))}
          xTitle="Day (UTC)"
          yTitle="Certificates"
          yTickFormatter={whole}
          series={ending.length ? [{ type: "bar", title: "Expiring", valueFormatter: count, data: s.expiring.map((d) => ({ x: d.date, y: d.count })) }] : []}
          empty={<None>No certificate expires in these days.</None>}
        />
      </Picture>
      <ColumnLayout columns={2}>
        <Shares title="By template" column="Template" shares={s.templates.map((t) => ({ name: templateName(t.name), count: t.count }))} />
        <Shares title="By key algorithm" column="Key algorithm" shares={s.keyAlgorithms} />
      </ColumnLayout>
    </>
  );
}

const whole = (n: number) => (Number.isInteger(n) ? count(n) : "");

function Picture({ title, description, columns, rows, children }: { title: string; description?: string; columns: string[]; rows: string[][]; children: ReactNode }) {
  return (
    <Container
      header={
        <Header variant="h2" description={description}>
          {title}
        </Header>
      }
      footer={
        rows.length ? (
          <ExpandableSection headerText="As a table">
            <Table
              variant="embedded"
              ariaLabels={{ tableLabel: title }}
              items={rows}
              trackBy={(r) => r[0] ?? ""}
              columnDefinitions={columns.map((header, i) => ({ id: header, header, isRowHeader: i === 0, cell: (r: string[]) => r[i] }))}
            />
          </ExpandableSection>
        ) : undefined
      }
    >
      {children}
    </Container>
  );
}

/** The greatest shares have a slice each, and the others one together; the table has all. */
function Shares({ title, column, shares }: { title: string; column: string; shares: { name: string; count: number }[] }) {
  const slices = shares.length > 8 ? shares.slice(0, 7) : shares;
  const others = shares.slice(slices.length).reduce((sum, s) => sum + s.count, 0);
  const total = shares.reduce((sum, s) => sum + s.count, 0);
  return (
    <Picture title={title} columns={[column, "Certificates"]} rows={shares.map((s) => [s.name || "Unknown", count(s.count)])}>
      <PieChart
        variant="donut"
        size="medium"
        ariaLabel={`Certificates ${title.toLowerCase()}`}
        ariaDescription="The figures are in the table below."
        hideFilter
        hideTitles
        hideDescriptions
        data={[
          ...slices.map((s) => ({ title: s.name || "Unknown", value: s.count })),
          ...(others ? [{ title: "All others", value: others }] : []),
        ]}
        innerMetricValue={count(total)}
        innerMetricDescription="issued"
        detailPopoverContent={(d, sum) => [
          { key: "Certificates", value: count(d.value) },
          { key: "Share", value: `${((100 * d.value) / sum).toFixed(1)} %` },
        ]}
        empty={<None>Nothing has been issued yet.</None>}
      />
    </Picture>
  );
}

function None({ children }: { children: ReactNode }) {
  return (
    <Box textAlign="center" color="text-body-secondary">
      {children}
    </Box>
  );
}

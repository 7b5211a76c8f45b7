import BarChart from "@cloudscape-design/components/bar-chart";
import Box from "@cloudscape-design/components/box";
import ColumnLayout from "@cloudscape-design/components/column-layout";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Header from "@cloudscape-design/components/header";
import PieChart from "@cloudscape-design/components/pie-chart";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import { useEffect, useRef, useState, type ReactNode } from "react";
import type { Statistics } from "../api";
import { count, templateName } from "../text";
import { keyAlgorithmName } from "./algorithms";

/** Statistics as pictures, each with its figures in a table. A chunk of its own: pictures are heavy. */
export default function Charts({ statistics: s }: { statistics: Statistics }) {
  const happened = s.perDay.filter((d) => d.issued || d.revoked);
  const ending = s.expiring.filter((d) => d.count);
  const { box, step } = useStep();
  const perDay = grouped(s.perDay, step, (d) => [d.issued, d.revoked]);
  const expiring = grouped(s.expiring, step, (d) => [d.count]);
  const weeks = step > 1 ? " A bar is a week, from the day below it on." : "";
  const top = (bars: Bar[]) => [0, Math.max(4, ...bars.map((b) => b.sums.reduce((a, n) => a + n, 0)))];
  const series = (title: string, bars: Bar[], i: number) => ({ type: "bar" as const, title, valueFormatter: count, data: bars.map((b) => ({ x: b.date, y: b.sums[i] ?? 0 })) });
  return (
    <div ref={box}>
      <SpaceBetween size="l">
        <Picture
          title="Issued and revoked per day"
          description={`The last 90 days.${weeks}`}
          columns={["Day", "Issued", "Revoked"]}
          rows={happened.map((d) => [d.date, count(d.issued), count(d.revoked)])}
        >
          <BarChart
            ariaLabel="Certificates issued and revoked per day"
            ariaDescription="The figures are in the table below."
            height={240}
            hideFilter
            xScaleType="categorical"
            xDomain={perDay.map((b) => b.date)}
            yDomain={top(perDay)}
            xTitle="Day (UTC)"
            yTitle="Certificates"
            yTickFormatter={whole}
            stackedBars
            series={happened.length ? [series("Issued", perDay, 0), series("Revoked", perDay, 1)] : []}
            empty={<None>Nothing was issued or revoked in these days.</None>}
          />
        </Picture>
        <Picture
          title="Expiring in the next 90 days"
          description={`Certificates that are not revoked, by the day on which they expire.${weeks}`}
          columns={["Day", "Expiring"]}
          rows={ending.map((d) => [d.date, count(d.count)])}
        >
          <BarChart
            ariaLabel="Certificates that expire, per day"
            ariaDescription="The figures are in the table below."
            height={200}
            hideFilter
            hideLegend
            xScaleType="categorical"
            xDomain={expiring.map((b) => b.date)}
            yDomain={top(expiring)}
            xTitle="Day (UTC)"
            yTitle="Certificates"
            yTickFormatter={whole}
            series={ending.length ? [series("Expiring", expiring, 0)] : []}
            empty={<None>No certificate expires in these days.</None>}
          />
        </Picture>
        <ColumnLayout columns={2}>
          <Shares title="By template" column="Template" shares={s.templates.map((t) => ({ name: templateName(t.name), count: t.count }))} />
          <Shares title="By key algorithm" column="Key algorithm" shares={s.keyAlgorithms.map((k) => ({ ...k, name: keyAlgorithmName(k.name) }))} />
        </ColumnLayout>
      </SpaceBetween>
    </div>
  );
}

type Bar = { date: string; sums: number[] };

/** Days, some at a time: a bar for each would be nothing but gaps in a narrow window. */
function grouped<T extends { date: string }>(days: T[], step: number, figures: (d: T) => number[]): Bar[] {
  const bars: Bar[] = [];
  days.forEach((d, i) => {
    const f = figures(d);
    const bar = bars.at(-1);
    if (i % step === 0 || !bar) bars.push({ date: d.date, sums: f });
    else bar.sums = bar.sums.map((n, k) => n + (f[k] ?? 0));
  });
  return bars;
}

/** How many days a bar stands for, by how wide the charts are. */
function useStep() {
  const box = useRef<HTMLDivElement>(null);
  const [step, setStep] = useState(() => (window.innerWidth < 800 ? 7 : 1));
  useEffect(() => {
    const look = new ResizeObserver(([e]) => setStep((e?.contentRect.width ?? 0) < 700 ? 7 : 1));
    if (box.current) look.observe(box.current);
    return () => look.disconnect();
  }, []);
  return { box, step };
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

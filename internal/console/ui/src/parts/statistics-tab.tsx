import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import { Suspense } from "react";
import { api, type Statistics } from "../api";
import { Boundary, later } from "../chunk";
import { useLoad } from "../load";
import { count } from "../text";
import { Loading } from "./loading";
import type { TabProps } from "./tab";

const Charts = later<{ statistics: Statistics }>(() => import("./charts"));

export default function StatisticsTab({ details }: TabProps) {
  const arn = details.authority.Arn;
  const statistics = useLoad(arn, (signal) => api.statistics(arn, signal));
  return (
    <Loading of={statistics} what="statistics">
      {(s) => (
        <SpaceBetween size="l">
          <Container
            header={
              <Header
                variant="h2"
                description={s.behind > 0 ? `${count(s.behind)} log ${s.behind === 1 ? "entry is" : "entries are"} not counted yet.` : "Days are in UTC."}
                actions={<Button iconName="refresh" ariaLabel="Count again" loading={statistics.loading} onClick={statistics.reload} />}
              >
                Totals
              </Header>
            }
          >
            <KeyValuePairs
              columns={4}
              items={[
                { label: "Issued", value: count(s.issued) },
                { label: "Valid", value: count(s.valid) },
                { label: "Revoked", value: count(s.revoked) },
                { label: "Expired", value: count(s.expired) },
              ]}
            />
          </Container>
          <Boundary>
            <Suspense fallback={<StatusIndicator type="loading">Drawing</StatusIndicator>}>
              <Charts statistics={s} />
            </Suspense>
          </Boundary>
        </SpaceBetween>
      )}
    </Loading>
  );
}

import { useCollection } from "@cloudscape-design/collection-hooks";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Header from "@cloudscape-design/components/header";
import Pagination from "@cloudscape-design/components/pagination";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import TextFilter from "@cloudscape-design/components/text-filter";
import { api, type Template } from "../api";
import { useLoad } from "../load";
import { Copyable } from "../parts/code";
import { LoadFailure } from "../parts/loading";
import { at } from "../routes";
import { usePage } from "../shell";
import { count } from "../text";

const passes = (t: Template) =>
  t.apiPassthrough && t.csrPassthrough ? "API and CSR" : t.apiPassthrough ? "API" : t.csrPassthrough ? "CSR" : "Nothing";
const makes = (t: Template) => (t.selfSigned ? "Root CA" : t.ca ? "Subordinate CA" : "End entity");

/** The templates that certificates are issued by. They are part of the product; nobody changes them. */
export default function Templates() {
  usePage([{ text: "Certificate templates", href: at.templates }]);
  const templates = useLoad("templates", api.templates);
  const { items, collectionProps, filterProps, paginationProps, filteredItemsCount, actions } = useCollection(templates.data ?? [], {
    filtering: {
      filteringFunction: (t, text) => {
        const all = `${t.name} ${t.description} ${makes(t)} ${passes(t)}`.toLowerCase();
        return text.toLowerCase().split(/\s+/).every((word) => all.includes(word));
      },
      noMatch: (
        <Box textAlign="center" color="inherit">
          <SpaceBetween size="m">
            <b>No matches</b>
            <Button onClick={() => actions.setFiltering("")}>Clear filter</Button>
          </SpaceBetween>
        </Box>
      ),
    },
    pagination: { pageSize: 25 },
    sorting: { defaultState: { sortingColumn: { sortingField: "name" } } },
  });
  return (
    <Table
      {...collectionProps}
      variant="full-page"
      stickyHeader
      wrapLines
      items={items}
      trackBy="arn"
      loading={templates.loading && !templates.data}
      loadingText="Reading the templates"
      ariaLabels={{ tableLabel: "Certificate templates" }}
      empty={templates.error ? <LoadFailure of={templates} what="templates" /> : collectionProps.empty}
      header={
        <Header
          variant="awsui-h1-sticky"
          counter={templates.data && `(${count(templates.data.length)})`}
          description="What a certificate is made like. A template fixes some extensions; others pass through from the API call or from the certificate signing request, as it allows."
        >
          Certificate templates
        </Header>
      }
      filter={
        <TextFilter
          {...filterProps}
          filteringPlaceholder="Find templates"
          filteringAriaLabel="Find templates"
          countText={`${count(filteredItemsCount ?? 0)} ${filteredItemsCount === 1 ? "match" : "matches"}`}
        />
      }
      pagination={<Pagination {...paginationProps} />}
      columnDefinitions={[
        { id: "name", header: "Name", sortingField: "name", isRowHeader: true, minWidth: 220, cell: (t) => <span className="value">{t.name}</span> },
        { id: "description", header: "Description", minWidth: 240, cell: (t) => t.description },
        { id: "makes", header: "Makes", sortingComparator: (a, b) => makes(a).localeCompare(makes(b)), minWidth: 120, cell: makes },
        { id: "pathLen", header: "Path length", sortingComparator: (a, b) => (a.pathLen ?? -1) - (b.pathLen ?? -1), minWidth: 110, cell: (t) => t.pathLen ?? "–" },
        { id: "passes", header: "Passes through", sortingComparator: (a, b) => passes(a).localeCompare(passes(b)), minWidth: 130, cell: passes },
        { id: "crossAccount", header: "Shared by default", minWidth: 130, cell: (t) => (t.crossAccount ? "Yes" : "No") },
        { id: "arn", header: "ARN", minWidth: 240, cell: (t) => <Copyable label={`ARN of ${t.name}`} text={t.arn} /> },
      ]}
    />
  );
}

import Button from "@cloudscape-design/components/button";
import ColumnLayout from "@cloudscape-design/components/column-layout";
import DatePicker from "@cloudscape-design/components/date-picker";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FormField from "@cloudscape-design/components/form-field";
import Grid from "@cloudscape-design/components/grid";
import Input from "@cloudscape-design/components/input";
import Link from "@cloudscape-design/components/link";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useEffect, useRef, useState } from "react";
import { api } from "../api";
import { useLoad } from "../load";
import { isDay, looksLikeSerial, searchedIn, type Filter } from "../search";
import { templateName } from "../text";

type Props = { params: URLSearchParams; set(changes: Partial<Record<Filter, string>>): void; clear(): void };

const statuses = [
  { value: "", label: "Any status" },
  { value: "VALID", label: "Valid" },
  { value: "REVOKED", label: "Revoked" },
  { value: "EXPIRED", label: "Expired" },
];

const behindMore: Filter[] = ["template", "issuedFrom", "issuedTo", "expiresFrom", "expiresTo"];

/** What certificates are searched by: a text that understands serial numbers and words, and more when it is wanted. */
export function CertificateFilters({ params, set, clear }: Props) {
  const get = (name: Filter) => params.get(name) ?? "";
  const more = behindMore.filter(get).length;
  const [open, setOpen] = useState(more > 0);
  const templates = useLoad("templates", (signal) => api.templates(signal));
  const options = [
    { value: "", label: "Any template" },
    ...(templates.data ?? []).map((t) => ({ value: t.arn, label: templateName(t.arn) })),
  ];
  const asked = more > 0 || get("q") !== "" || get("status") !== "";
  return (
    <SpaceBetween size="xs">
      <Grid gridDefinition={[{ colspan: { default: 12, xxs: 8 } }, { colspan: { default: 12, xxs: 4 } }]}>
        <Text params={params} set={set} />
        <Select
          ariaLabel="Status"
          options={statuses}
          selectedOption={statuses.find((s) => s.value === get("status")) ?? statuses[0]!}
          onChange={(e) => set({ status: e.detail.selectedOption.value })}
        />
      </Grid>
      <ExpandableSection
        headerText={more ? `More filters (${more})` : "More filters"}
        expanded={open}
        onChange={(e) => setOpen(e.detail.expanded)}
        headerActions={
          asked ? (
            <Button variant="inline-link" onClick={clear}>
              Clear filters
            </Button>
          ) : undefined
        }
      >
        <ColumnLayout columns={3} minColumnWidth={240}>
          <FormField label="Template">
            <Select
              options={options}
              selectedOption={options.find((o) => o.value === get("template")) ?? { value: get("template"), label: templateName(get("template")) }}
              onChange={(e) => set({ template: e.detail.selectedOption.value })}
              filteringType="auto"
              filteringAriaLabel="Find templates"
              filteringPlaceholder="Find templates"
              noMatch="No template of that name"
              statusType={templates.error ? "error" : templates.loading ? "loading" : "finished"}
              loadingText="Reading the templates"
              errorText={templates.error?.message}
            />
          </FormField>
          <Days label="Issued" from="issuedFrom" to="issuedTo" get={get} set={set} />
          <Days label="Expires" from="expiresFrom" to="expiresTo" get={get} set={set} />
        </ColumnLayout>
      </ExpandableSection>
    </SpaceBetween>
  );
}

/** The text, which is asked for when typing pauses, or with Enter. */
function Text({ params, set }: Pick<Props, "params" | "set">) {
  const asked = params.get("q") ?? "";
  const [text, setText] = useState(asked);
  const sent = useRef(asked);
  const latest = useRef(set);
  latest.current = set;
  useEffect(() => {
    // It was changed elsewhere: the filters were cleared, or the browser went back.
    if (asked !== sent.current) {
      sent.current = asked;
      setText(asked);
    }
  }, [asked]);
  const send = (q: string) => {
    if (q.trim() === sent.current) return;
    sent.current = q.trim();
    latest.current({ q: q.trim(), in: "" });
  };
  useEffect(() => {
    const timer = window.setTimeout(() => send(text), 300);
    return () => window.clearTimeout(timer);
  }, [text]);
  const where = searchedIn(params);
  const other = where === "serial" ? "subject" : "serial";
  return (
    <FormField
      stretch
      constraintText={
        asked && (looksLikeSerial(asked) || params.get("in")) ? (
          <>
            {where === "serial" ? "Serial numbers that begin so. " : "Subjects and names with these words. "}
            <Link variant="primary" fontSize="inherit" onFollow={() => set({ in: other })}>
              {other === "serial" ? "Search serial numbers" : "Search subjects"}
            </Link>
          </>
        ) : undefined
      }
    >
      <Input
        type="search"
        ariaLabel="Find certificates by subject or serial number"
        placeholder="Words of the subject, or a serial number"
        clearAriaLabel="Clear"
        value={text}
        onChange={(e) => setText(e.detail.value)}
        onKeyDown={(e) => e.detail.key === "Enter" && send(text)}
        autoComplete={false}
        spellcheck={false}
      />
    </FormField>
  );
}

type DaysProps = { label: string; from: Filter; to: Filter; get(name: Filter): string; set: Props["set"] };

function Days({ label, from, to, get, set }: DaysProps) {
  const wrong = get(from) && get(to) && get(from) > get(to) ? "The first day is after the last." : "";
  return (
    <FormField label={`${label}, in UTC`} errorText={wrong} stretch>
      <Grid gridDefinition={[{ colspan: { default: 12, xxs: 6 } }, { colspan: { default: 12, xxs: 6 } }]}>
        <Day label={`${label} from`} placeholder="From" value={get(from)} onDay={(d) => set({ [from]: d })} />
        <Day label={`${label} to`} placeholder="To" value={get(to)} onDay={(d) => set({ [to]: d })} />
      </Grid>
    </FormField>
  );
}

/** A day, which counts when it is typed to its end. */
function Day({ label, placeholder, value, onDay }: { label: string; placeholder: string; value: string; onDay(d: string): void }) {
  const [text, setText] = useState(value);
  useEffect(() => setText(value), [value]);
  return (
    <DatePicker
      value={text}
      ariaLabel={label}
      placeholder={placeholder}
      format="iso"
      inputFormat="iso"
      openCalendarAriaLabel={(d) => `${label}: choose a day${d ? `, chosen is ${d}` : ""}`}
      onChange={(e) => {
        setText(e.detail.value);
        if (e.detail.value === "" || isDay(e.detail.value)) onDay(e.detail.value);
      }}
    />
  );
}

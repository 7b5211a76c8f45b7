import AttributeEditor from "@cloudscape-design/components/attribute-editor";
import Box from "@cloudscape-design/components/box";
import ColumnLayout from "@cloudscape-design/components/column-layout";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input from "@cloudscape-design/components/input";
import RadioGroup from "@cloudscape-design/components/radio-group";
import SpaceBetween from "@cloudscape-design/components/space-between";
import type { ASN1Subject } from "../api";

type Name = Exclude<keyof ASN1Subject, "CustomAttributes">;
type Row = { name: Name; label: string; short: string; most: number; description?: string; printable?: boolean };

/** The standard attributes in the order in which the server encodes them. */
const rows: Row[] = [
  { name: "Country", label: "Country name (C)", short: "C", most: 2, description: "Two letters, such as DE." },
  { name: "Organization", label: "Organization (O)", short: "O", most: 64, description: "The company's name." },
  { name: "OrganizationalUnit", label: "Organizational unit (OU)", short: "OU", most: 64, description: "A part of the company, such as IT." },
  { name: "DistinguishedNameQualifier", label: "Distinguished name qualifier", short: "DNQ", most: 64, printable: true },
  { name: "State", label: "State or province name (ST)", short: "ST", most: 128 },
  { name: "CommonName", label: "Common name (CN)", short: "CN", most: 64, description: "The name by which people know this CA." },
  { name: "SerialNumber", label: "Serial number", short: "SERIALNUMBER", most: 64, printable: true },
  { name: "Locality", label: "Locality name (L)", short: "L", most: 128, description: "The city." },
  { name: "Title", label: "Title", short: "T", most: 64 },
  { name: "Surname", label: "Surname", short: "SURNAME", most: 40 },
  { name: "GivenName", label: "Given name", short: "GIVENNAME", most: 16 },
  { name: "Initials", label: "Initials", short: "INITIALS", most: 5 },
  { name: "Pseudonym", label: "Pseudonym", short: "PSEUDONYM", most: 128 },
  { name: "GenerationQualifier", label: "Generation qualifier", short: "GENERATION", most: 3, description: "Such as Jr. or III." },
];
const usual: Name[] = ["Organization", "OrganizationalUnit", "Country", "State", "Locality", "CommonName"];

export type SubjectInput = { kind: "standard" | "custom"; standard: Partial<Record<Name, string>>; custom: { oid: string; value: string }[] };

export const emptySubject: SubjectInput = { kind: "standard", standard: {}, custom: [{ oid: "", value: "" }] };

export function subjectOf(input: SubjectInput): ASN1Subject {
  if (input.kind === "custom") return { CustomAttributes: input.custom.map((a) => ({ ObjectIdentifier: a.oid.trim(), Value: a.value })) };
  return Object.fromEntries(rows.flatMap((r) => (input.standard[r.name] ? [[r.name, input.standard[r.name]]] : [])));
}

/** What is wrong by field: the name of a standard attribute, oid0 or value0 of a custom one, or kind for the whole. */
export type SubjectErrors = Record<string, string>;

/** The rules of the server for a CA's subject. */
export function checkSubject(input: SubjectInput): SubjectErrors {
  const wrong: SubjectErrors = {};
  if (input.kind === "standard") {
    for (const r of rows) {
      const value = input.standard[r.name] ?? "";
      const n = [...value].length;
      if (r.name === "Country" && value && !/^[A-Za-z]{2}$/.test(value)) wrong[r.name] = "Give a country code of two letters.";
      else if (n > r.most) wrong[r.name] = `At most ${r.most} characters; there are ${n}.`;
      else if (r.printable && !/^[A-Za-z0-9 '()+,\-./:=?]*$/.test(value)) wrong[r.name] = "Only letters, digits, spaces and ' ( ) + , - . / : = ? can be used.";
    }
    if (!rows.some((r) => input.standard[r.name])) wrong.CommonName = "Give at least one attribute, such as the common name.";
    return wrong;
  }
  if (input.custom.length === 0) wrong.kind = "Add at least one attribute.";
  input.custom.forEach((a, i) => {
    if (a.oid.trim().length > 64 || !/^[0-2]\.([0-9]|[0-3][0-9])(\.[0-9]+){0,126}$/.test(a.oid.trim())) wrong[`oid${i}`] = "Give an object identifier such as 2.5.4.3.";
    const n = [...a.value].length;
    if (n === 0 || n > 256) wrong[`value${i}`] = "Give a value of 1 to 256 characters.";
  });
  return wrong;
}

const escape = (v: string) => v.replace(/[,=+<>#;"\\]/g, "\\$&").replace(/^ | $/g, "\\ ");

/** The name as certificates show it, the attribute that was encoded last first. */
export function previewSubject(input: SubjectInput): string {
  const pairs = input.kind === "custom" ? input.custom.map((a) => [a.oid.trim(), a.value]) : rows.map((r) => [r.short, input.standard[r.name] ?? ""]);
  return pairs
    .filter(([, v]) => v)
    .map(([k, v]) => `${k}=${escape(v!)}`)
    .reverse()
    .join(", ");
}

type Props = { value: SubjectInput; errors: SubjectErrors; onChange(next: SubjectInput): void };

export function SubjectForm({ value, errors, onChange }: Props) {
  const field = (name: Name) => {
    const r = rows.find((row) => row.name === name)!;
    return (
      <FormField key={name} label={r.label} description={r.description} constraintText={r.name === "Country" ? undefined : `At most ${r.most} characters.`} errorText={errors[name]}>
        <Input
          value={value.standard[name] ?? ""}
          onChange={(e) => onChange({ ...value, standard: { ...value.standard, [name]: e.detail.value } })}
          autoComplete={false}
          spellcheck={false}
        />
      </FormField>
    );
  };
  const set = (i: number, change: Partial<{ oid: string; value: string }>) =>
    onChange({ ...value, custom: value.custom.map((a, n) => (n === i ? { ...a, ...change } : a)) });
  return (
    <SpaceBetween size="l">
      <Container header={<Header variant="h2">Subject distinguished name options</Header>}>
        <SpaceBetween size="l">
          <FormField label="Attributes" stretch errorText={errors.kind}>
            <RadioGroup
              value={value.kind}
              onChange={(e) => onChange({ ...value, kind: e.detail.value as SubjectInput["kind"] })}
              items={[
                { value: "standard", label: "Standard attributes" },
                { value: "custom", label: "Custom attributes", description: "Attributes by their object identifiers, in place of the standard ones." },
              ]}
            />
          </FormField>
          {value.kind === "standard" ? (
            <SpaceBetween size="l">
              <ColumnLayout columns={2}>{usual.map(field)}</ColumnLayout>
              <ExpandableSection
                headerText="More attributes"
                defaultExpanded={rows.some((r) => !usual.includes(r.name) && (value.standard[r.name] || errors[r.name]))}
              >
                <ColumnLayout columns={2}>{rows.filter((r) => !usual.includes(r.name)).map((r) => field(r.name))}</ColumnLayout>
              </ExpandableSection>
            </SpaceBetween>
          ) : (
            <AttributeEditor
              items={value.custom}
              addButtonText="Add attribute"
              removeButtonText="Remove"
              removeButtonAriaLabel={(a) => `Remove attribute ${a.oid}`}
              disableAddButton={value.custom.length >= 150}
              empty="There are no attributes."
              onAddButtonClick={() => onChange({ ...value, custom: [...value.custom, { oid: "", value: "" }] })}
              onRemoveButtonClick={(e) => onChange({ ...value, custom: value.custom.filter((_, i) => i !== e.detail.itemIndex) })}
              definition={[
                {
                  label: "Object identifier",
                  control: (a, i) => <Input value={a.oid} placeholder="2.5.4.3" onChange={(e) => set(i, { oid: e.detail.value })} autoComplete={false} />,
                  errorText: (_, i) => errors[`oid${i}`],
                },
                {
                  label: "Value",
                  control: (a, i) => <Input value={a.value} onChange={(e) => set(i, { value: e.detail.value })} autoComplete={false} />,
                  errorText: (_, i) => errors[`value${i}`],
                },
              ]}
            />
          )}
        </SpaceBetween>
      </Container>
      <Container header={<Header variant="h2" description="The name in the CA's certificate, and the issuer of what it issues. It cannot be changed later.">Preview</Header>}>
        <div role="status" aria-label="Preview of the name">
          <Box variant="code">{previewSubject(value) || "–"}</Box>
        </div>
      </Container>
    </SpaceBetween>
  );
}

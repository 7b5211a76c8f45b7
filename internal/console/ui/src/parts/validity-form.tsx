import DatePicker from "@cloudscape-design/components/date-picker";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import Select from "@cloudscape-design/components/select";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { time } from "../text";

/** Until when a certificate is to be valid: a number of years, months or days, or a last day. */
export type ValidityInput = { unit: "YEARS" | "MONTHS" | "DAYS" | "ABSOLUTE"; value: string; date: string };

const units: { value: ValidityInput["unit"]; label: string }[] = [
  { value: "YEARS", label: "Years" },
  { value: "MONTHS", label: "Months" },
  { value: "DAYS", label: "Days" },
  { value: "ABSOLUTE", label: "Last day" },
];

/** The end in seconds since the epoch, as the server will reckon it; NaN when the input is not one. */
export function endOf(v: ValidityInput): number {
  if (v.unit === "ABSOLUTE") return Date.parse(`${v.date}T23:59:59Z`) / 1000;
  if (!/^[1-9]\d{0,6}$/.test(v.value)) return NaN;
  const n = Number(v.value);
  const now = new Date();
  if (v.unit === "DAYS") return Math.floor(now.getTime() / 1000) + n * 86400;
  const end = new Date(now);
  end.setUTCDate(1);
  end.setUTCMonth(end.getUTCMonth() + (v.unit === "YEARS" ? 12 * n : n));
  const last = new Date(Date.UTC(end.getUTCFullYear(), end.getUTCMonth() + 1, 0)).getUTCDate();
  end.setUTCDate(Math.min(now.getUTCDate(), last)); // 31 January and one month is the last of February
  return Math.floor(end.getTime() / 1000);
}

/** The API's Validity. */
export const validityOf = (v: ValidityInput) => (v.unit === "ABSOLUTE" ? { Type: v.unit, Value: endOf(v) } : { Type: v.unit, Value: Number(v.value) });

/** latest is the end of the issuer's own certificate; undefined when there is none that limits it. */
export function checkValidity(v: ValidityInput, latest: number | undefined): string {
  const end = endOf(v);
  if (Number.isNaN(end)) return v.unit === "ABSOLUTE" ? "Choose a day." : "Give a whole number of 1 or more.";
  if (end <= Date.now() / 1000) return "That is in the past.";
  if (end > 253402300799) return "It must end before the year 10000.";
  if (latest !== undefined && end > latest) return `The certificate of the parent ends earlier, on ${time(latest)}.`;
  return "";
}

type Props = { value: ValidityInput; error: string; disabled: boolean; onChange(next: ValidityInput): void };

export function ValidityForm({ value: v, error, disabled, onChange }: Props) {
  const end = endOf(v);
  return (
    <FormField label="Validity" constraintText={error || Number.isNaN(end) ? undefined : `The certificate ends on ${time(end)}.`} errorText={error}>
      <SpaceBetween direction="horizontal" size="xs">
        {v.unit === "ABSOLUTE" ? (
          <DatePicker
            ariaLabel="Last day"
            value={v.date}
            disabled={disabled}
            placeholder="YYYY/MM/DD"
            isDateEnabled={(d) => d.getTime() > Date.now() - 86_400_000}
            onChange={(e) => onChange({ ...v, date: e.detail.value })}
          />
        ) : (
          <Input ariaLabel="Number" type="number" inputMode="numeric" value={v.value} disabled={disabled} onChange={(e) => onChange({ ...v, value: e.detail.value })} />
        )}
        <Select
          ariaLabel="Unit"
          selectedOption={units.find((u) => u.value === v.unit)!}
          options={units}
          disabled={disabled}
          onChange={(e) => onChange({ ...v, unit: e.detail.selectedOption.value as ValidityInput["unit"] })}
        />
      </SpaceBetween>
    </FormField>
  );
}

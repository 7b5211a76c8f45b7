import FileUpload from "@cloudscape-design/components/file-upload";
import FormField from "@cloudscape-design/components/form-field";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Textarea from "@cloudscape-design/components/textarea";
import { useState } from "react";

type Props = { label: string; description: string; value: string; error: string | undefined; disabled: boolean; onChange(text: string): void };

/** PEM text that is pasted, or read from a file. */
export function PemField({ label, description, value, error, disabled, onChange }: Props) {
  const [unread, setUnread] = useState("");
  return (
    <SpaceBetween size="xs">
      <FormField label={label} description={description} errorText={error} stretch>
        <Textarea
          value={value}
          rows={8}
          disabled={disabled}
          spellcheck={false}
          placeholder={"-----BEGIN CERTIFICATE-----\n...\n-----END CERTIFICATE-----"}
          onChange={(e) => onChange(e.detail.value)}
        />
      </FormField>
      {!disabled && (
        <FileUpload
          value={[]}
          accept=".pem,.crt,.cer,.txt"
          errorText={unread}
          i18nStrings={{ uploadButtonText: () => `Choose a file with the ${label.toLowerCase()}`, dropzoneText: () => "Drop a PEM file here" }}
          onChange={(e) => {
            setUnread("");
            const file = e.detail.value[0];
            if (!file) return;
            if (file.size > 2 << 20) return setUnread(`${file.name} has more than 2 MB.`);
            file.text().then(onChange, () => setUnread(`${file.name} could not be read.`));
          }}
        />
      )}
    </SpaceBetween>
  );
}

const blocks = (text: string) => text.match(/-----BEGIN [A-Z ]+-----[\s\S]*?-----END [A-Z ]+-----/g) ?? [];

/** What the server would say of the text before it looks into the certificates. */
export function checkPem(text: string, most: number | undefined, bytes: number): string {
  const found = blocks(text);
  if (found.some((b) => b.includes("PRIVATE KEY"))) return "This holds a private key. Keep it where it is, and give the certificate.";
  const certificates = found.filter((b) => b.startsWith("-----BEGIN CERTIFICATE-----"));
  if (certificates.length === 0) return "Give text in PEM form, from -----BEGIN CERTIFICATE----- to -----END CERTIFICATE-----.";
  if (most !== undefined && certificates.length > most) return `Give one certificate here; these are ${certificates.length}. The others belong to the chain.`;
  if (new TextEncoder().encode(text).length > bytes) return `At most ${bytes} bytes are possible.`;
  return "";
}

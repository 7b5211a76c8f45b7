import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import type { Decoded } from "../api";
import { time } from "../text";
import { keyAlgorithmName, signingAlgorithmName } from "./algorithms";
import { Code, Copyable } from "./code";

/** Has the browser save text as a file of that name. */
export function save(text: string, file: string) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const a = document.createElement("a");
  a.href = url;
  a.download = file;
  a.click();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download reads it after click returns
}

/** Text in PEM form, to read, to copy and to download. label is its name on buttons, such as "certificate". */
export function Pem({ text, file, label }: { text: string; file: string; label: string }) {
  return (
    <SpaceBetween size="xs">
      <Button iconName="download" onClick={() => save(text, file)}>
        Download {label}
      </Button>
      <Code label={label} text={text} />
    </SpaceBetween>
  );
}

/** A certificate with all its fields. The PEM is folded away unless open says otherwise. */
export function DecodedCertificate({ decoded, file, open = false }: { decoded: Decoded; file: string; open?: boolean }) {
  return (
    <SpaceBetween size="l">
      <KeyValuePairs
        columns={3}
        items={[
          { label: "Subject", value: decoded.subject || "–" },
          { label: "Issuer", value: decoded.issuer || "–" },
          { label: "Serial number", value: decoded.serial ? <Copyable label="serial number" text={decoded.serial} /> : "–" },
          { label: "Not before", value: time(decoded.notBefore) },
          { label: "Not after", value: time(decoded.notAfter) },
          { label: "Key algorithm", value: keyAlgorithmName(decoded.keyAlgorithm) },
          { label: "Signature algorithm", value: signingAlgorithmName(decoded.signatureAlgorithm) },
          { label: "Subject key identifier", value: decoded.subjectKeyId ? <Copyable label="subject key identifier" text={decoded.subjectKeyId} /> : "–" },
          { label: "Authority key identifier", value: decoded.authorityKeyId ? <Copyable label="authority key identifier" text={decoded.authorityKeyId} /> : "–" },
          { label: "SHA-256 fingerprint", value: decoded.sha256 ? <Copyable label="SHA-256 fingerprint" text={decoded.sha256} /> : "–" },
        ]}
      />
      <Table
        variant="embedded"
        header={<Box variant="h3">Extensions</Box>}
        ariaLabels={{ tableLabel: "Extensions" }}
        items={decoded.extensions}
        trackBy="oid"
        wrapLines
        empty="This certificate has no extensions."
        columnDefinitions={[
          { id: "name", header: "Name", cell: (e) => e.name || e.oid, isRowHeader: true, minWidth: 160 },
          { id: "critical", header: "Critical", cell: (e) => (e.critical ? "Yes" : "No"), minWidth: 90 },
          { id: "value", header: "Value", cell: (e) => <span className="value">{e.value || "–"}</span>, minWidth: 220 },
          { id: "oid", header: "OID", cell: (e) => e.oid, minWidth: 150 },
        ]}
      />
      <ExpandableSection headerText="PEM" defaultExpanded={open}>
        <Pem text={decoded.pem} file={file} label="certificate" />
      </ExpandableSection>
    </SpaceBetween>
  );
}

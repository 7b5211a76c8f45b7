import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import CopyToClipboard from "@cloudscape-design/components/copy-to-clipboard";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import KeyValuePairs from "@cloudscape-design/components/key-value-pairs";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import type { Decoded } from "../api";
import { time } from "../text";

/** Has the browser save text as a file of that name. */
export function save(text: string, file: string) {
  const url = URL.createObjectURL(new Blob([text], { type: "application/octet-stream" }));
  const a = document.createElement("a");
  a.href = url;
  a.download = file;
  a.click();
  window.setTimeout(() => URL.revokeObjectURL(url), 10_000); // the download reads it after click returns
}

/** A value that people copy: an ARN, a serial number, a digest. */
export function Copyable({ text, what }: { text: string; what: string }) {
  if (!text) return <>–</>;
  return (
    <CopyToClipboard
      variant="inline"
      textToCopy={text}
      textToDisplay={text}
      copyButtonAriaLabel={`Copy ${what}`}
      copySuccessText="Copied"
      copyErrorText="The browser did not allow to copy"
    />
  );
}

/** Text in PEM form, to read, to copy and to download. what is its name for people, such as "certificate". */
export function Pem({ text, file, what }: { text: string; file: string; what: string }) {
  return (
    <SpaceBetween size="xs">
      <SpaceBetween size="xs" direction="horizontal">
        <CopyToClipboard
          textToCopy={text}
          copyButtonText={`Copy ${what}`}
          copySuccessText="Copied"
          copyErrorText="The browser did not allow to copy"
        />
        <Button iconName="download" onClick={() => save(text, file)}>
          Download {what}
        </Button>
      </SpaceBetween>
      <pre className="text" tabIndex={0} role="region" aria-label={`${what} in PEM form`}>
        {text}
      </pre>
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
          { label: "Serial number", value: <Copyable text={decoded.serial} what="serial number" /> },
          { label: "Not before", value: time(decoded.notBefore) },
          { label: "Not after", value: time(decoded.notAfter) },
          { label: "Key algorithm", value: decoded.keyAlgorithm },
          { label: "Signature algorithm", value: decoded.signatureAlgorithm },
          { label: "Subject key identifier", value: <Copyable text={decoded.subjectKeyId} what="subject key identifier" /> },
          { label: "Authority key identifier", value: <Copyable text={decoded.authorityKeyId} what="authority key identifier" /> },
          { label: "SHA-256 fingerprint", value: <Copyable text={decoded.sha256} what="SHA-256 fingerprint" /> },
        ]}
      />
      <Table
        variant="embedded"
        header={<Box variant="h4">Extensions</Box>}
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
        <Pem text={decoded.pem} file={file} what="certificate" />
      </ExpandableSection>
    </SpaceBetween>
  );
}

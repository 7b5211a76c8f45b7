import Box from "@cloudscape-design/components/box";
import CopyToClipboard from "@cloudscape-design/components/copy-to-clipboard";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useEffect, useRef, useState } from "react";

/** Text to copy, as it is: policies, commands. label says what it is. */
export function Code({ label, text }: { label: string; text: string }) {
  const box = useRef<HTMLDivElement>(null);
  const [wide, setWide] = useState(false);
  useEffect(() => {
    const div = box.current;
    if (!div) return;
    const look = new ResizeObserver(() => setWide(div.scrollWidth > div.clientWidth || div.scrollHeight > div.clientHeight));
    look.observe(div);
    return () => look.disconnect();
  }, [text]);
  return (
    <SpaceBetween size="xxs">
      <CopyToClipboard copyButtonText={`Copy ${label}`} textToCopy={text} copySuccessText="Copied" copyErrorText="It could not be copied. Select the text, and copy it." />
      {/* What scrolls is reached with the keyboard. */}
      <div ref={box} role="region" aria-label={label} tabIndex={wide ? 0 : undefined} style={{ overflow: "auto", maxBlockSize: "40em" }}>
        <Box variant="pre">{text}</Box>
      </div>
    </SpaceBetween>
  );
}

/** One value that people copy: an ARN, a digest. It breaks rather than widening the page. */
export function Copyable({ label, text }: { label: string; text: string }) {
  return (
    <CopyToClipboard
      variant="inline"
      wrapText
      textToDisplay={<span className="value">{text}</span>}
      textToCopy={text}
      copyButtonAriaLabel={`Copy ${label}`}
      copySuccessText="Copied"
      copyErrorText="It could not be copied"
    />
  );
}

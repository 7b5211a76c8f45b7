import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import FormField from "@cloudscape-design/components/form-field";
import Input from "@cloudscape-design/components/input";
import Modal from "@cloudscape-design/components/modal";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useState, type ReactNode } from "react";
import { useAct } from "../act";
import { Failure } from "./failure";

type Props = {
  header: string;
  /** What the button that does it says. */
  verb: string;
  /** What is to be typed before the button works; absent: nothing. */
  typed?: string;
  /** Why it cannot be done as things stand; "" when it can. */
  hindrance?: string;
  act(): Promise<void>;
  onClose(): void;
  children: ReactNode;
};

/** Confirm asks before something is changed; it stays open when the server refuses. */
export function Confirm({ header, verb, typed, hindrance = "", act, onClose, children }: Props) {
  const { running, error, run } = useAct();
  const [text, setText] = useState("");
  const ready = (!typed || text.trim() === typed) && !hindrance;
  const go = () => {
    if (ready) void run(act).then((done) => done && onClose());
  };
  return (
    <Modal
      visible
      header={header}
      closeAriaLabel="Close"
      onDismiss={() => running || onClose()}
      footer={
        <Box float="right">
          <SpaceBetween direction="horizontal" size="xs">
            <Button variant="link" disabled={running} onClick={onClose}>
              Cancel
            </Button>
            <Button variant="primary" loading={running} disabled={!ready} disabledReason={hindrance || undefined} onClick={go}>
              {verb}
            </Button>
          </SpaceBetween>
        </Box>
      }
    >
      <SpaceBetween size="m">
        {children}
        {typed && (
          <FormField label={`To confirm, type “${typed}”.`}>
            <Input value={text} onChange={(e) => setText(e.detail.value)} onKeyDown={(e) => e.detail.key === "Enter" && go()} placeholder={typed} autoComplete={false} />
          </FormField>
        )}
        <Failure error={error} header="It was not done" />
      </SpaceBetween>
    </Modal>
  );
}

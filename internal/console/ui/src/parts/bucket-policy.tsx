import Button from "@cloudscape-design/components/button";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import LiveRegion from "@cloudscape-design/components/live-region";
import SpaceBetween from "@cloudscape-design/components/space-between";
import StatusIndicator from "@cloudscape-design/components/status-indicator";
import { useCallback, useEffect, useRef, useState } from "react";
import { useAct } from "../act";
import { api, type BucketState } from "../api";
import { useMay } from "../permissions";
import { Code } from "./code";
import { Failure } from "./failure";

type Checked = {
  state: BucketState | undefined;
  error: Error | undefined;
  checking: boolean;
  /** Looks again; undefined when the bucket could not be looked at. */
  check(): Promise<BucketState | undefined>;
};

/** Whether a CA may write its reports to a bucket; "": none is chosen. */
export function useBucketState(ca: string, bucket: string): Checked {
  const [answer, setAnswer] = useState<{ bucket: string; state?: BucketState; error?: Error }>({ bucket: "" });
  const [checking, setChecking] = useState(false);
  const latest = useRef(0);
  const check = useCallback(async () => {
    const turn = ++latest.current;
    if (!bucket) return undefined;
    setChecking(true);
    let got: { bucket: string; state?: BucketState; error?: Error };
    try {
      got = { bucket, state: await api.bucket(ca, bucket) };
    } catch (e) {
      got = { bucket, error: e as Error };
    }
    if (turn === latest.current) {
      setAnswer(got);
      setChecking(false);
    }
    return got.state;
  }, [ca, bucket]);
  useEffect(() => {
    void check();
    return () => void ++latest.current;
  }, [check]);
  const current = answer.bucket === bucket ? answer : undefined;
  return { state: current?.state, error: current?.error, checking, check };
}

type Props = {
  ca: string;
  bucket: string;
  state: Checked;
  /** Why the bucket is refused stands elsewhere on the page. */
  told: boolean;
};

/** What the check of a bucket's policy said, and the policy that it needs. */
export function BucketPolicy({ ca, bucket, state: { state, error, checking, check }, told }: Props) {
  const [open, setOpen] = useState(false);
  const may = useMay(`arn:${ca.split(":")[1]}:s3:::${bucket}`, ["s3:PutBucketPolicy"]);
  const attach = useAct();
  const { clear } = attach;
  useEffect(clear, [clear, bucket]);
  const refused = state !== undefined && !state.allowed;
  useEffect(() => setOpen(refused), [refused, bucket]);
  return (
    <SpaceBetween size="s">
      <SpaceBetween direction="horizontal" size="s" alignItems="center">
        <LiveRegion>
          {checking ? (
            <StatusIndicator type="loading">Looking at the bucket&apos;s policy</StatusIndicator>
          ) : error ? (
            <StatusIndicator type="warning">The policy could not be looked at: {error.message}</StatusIndicator>
          ) : refused && told ? null : refused ? (
            <StatusIndicator type="error">Refused: {state.reason}</StatusIndicator>
          ) : state ? (
            <StatusIndicator type="success">Allowed: the bucket&apos;s policy lets the private CA write its reports.</StatusIndicator>
          ) : null}
        </LiveRegion>
        <Button formAction="none" iconName="refresh" disabled={checking} onClick={() => void check()}>
          Check again
        </Button>
      </SpaceBetween>
      {state?.needed && (
        <ExpandableSection
          headerText={refused ? "Attach this policy to the bucket" : "The policy that a bucket needs"}
          headingTagOverride="h3"
          expanded={open}
          onChange={(e) => setOpen(e.detail.expanded)}
        >
          <SpaceBetween size="s">
            <span>
              Its condition aws:SourceAccount makes it good only for private CAs of this account: nobody else&apos;s reports can be written there through the service.
            </span>
            <Code label="policy" text={state.needed} />
            {refused && state.exists && !state.policy && (
              <Button
                formAction="none"
                loading={attach.running}
                loadingText="The policy is being attached"
                disabled={may("s3:PutBucketPolicy") !== ""}
                disabledReason={may("s3:PutBucketPolicy") || undefined}
                onClick={() =>
                  void attach.run(async () => {
                    await api.attachPolicy(ca, bucket);
                    await check();
                  })
                }
              >
                Attach policy
              </Button>
            )}
            <Failure error={attach.error} header="The policy was not attached" />
            <span>
              {refused && state.exists && !state.policy ? "Or save" : "Save"} it as policy.json, and attach it with the command below; it takes the place of a policy that the bucket has. Then choose{" "}
              <em>Check again</em>.
            </span>
            <Code label="command" text={`aws s3api put-bucket-policy --bucket ${bucket} --policy file://policy.json`} />
          </SpaceBetween>
        </ExpandableSection>
      )}
      {refused && state.policy && (
        <ExpandableSection headerText="The policy that the bucket has now" headingTagOverride="h3">
          <Code label="present policy" text={state.policy} />
        </ExpandableSection>
      )}
    </SpaceBetween>
  );
}

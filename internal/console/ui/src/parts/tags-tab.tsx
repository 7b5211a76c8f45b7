import Alert from "@cloudscape-design/components/alert";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import Header from "@cloudscape-design/components/header";
import SpaceBetween from "@cloudscape-design/components/space-between";
import Table from "@cloudscape-design/components/table";
import TagEditor, { getTagsDiff, type TagEditorProps } from "@cloudscape-design/components/tag-editor";
import { useState } from "react";
import { focusFirstError, useAct } from "../act";
import { call } from "../api";
import { useLoad } from "../load";
import { useNotify } from "../notifications";
import { useMay } from "../permissions";
import { useEditing } from "./editing";
import { Empty } from "./empty";
import { Failure } from "./failure";
import { Loading } from "./loading";
import { SaveCancel } from "./save-cancel";
import type { TabProps } from "./tab";
import { asRows, checkTags, maxTags, type Tag } from "./tags";

const add = "acm-pca:TagCertificateAuthority";
const remove = "acm-pca:UntagCertificateAuthority";

export default function TagsTab({ details, reload }: TabProps) {
  if (details.authority.Status === "DELETED") {
    return (
      <Alert type="info" header="The tags cannot be read now">
        The status of the private CA is Deleted. Restore it to see and change its tags.
      </Alert>
    );
  }
  return <Tags details={details} reload={reload} />;
}

function Tags({ details, reload }: TabProps) {
  const arn = details.authority.Arn;
  const may = useMay(arn, [add, remove]);
  const tags = useLoad(`tags of ${arn}`, async (signal) => {
    const all: Tag[] = [];
    for (let token: string | undefined; ; ) {
      const page = await call<{ Tags?: Tag[]; NextToken?: string }>("ListTags", { CertificateAuthorityArn: arn, NextToken: token }, signal);
      all.push(...(page.Tags ?? []));
      token = page.NextToken;
      if (!token) return all;
    }
  });
  const [editing, setEditing] = useEditing();
  const hindrance = may(add) || may(remove);
  return (
    <Loading of={tags} what="tags">
      {(data) =>
        editing && !hindrance ? (
          <Edit
            arn={arn}
            tags={data}
            onClose={() => setEditing(false)}
            onChanged={() => {
              tags.reload();
              reload();
            }}
          />
        ) : (
          <Table
            items={data}
            loading={tags.loading}
            loadingText="Reading the tags"
            trackBy="Key"
            columnDefinitions={[
              { id: "key", header: "Key", cell: (t) => t.Key, isRowHeader: true },
              { id: "value", header: "Value", cell: (t) => t.Value || "–" },
            ]}
            header={
              <Header
                variant="h2"
                counter={`(${data.length})`}
                description="Labels to find the CA by, and for policies to decide by."
                actions={
                  <Button disabled={hindrance !== ""} disabledReason={hindrance || undefined} onClick={() => setEditing(true)}>
                    Manage tags
                  </Button>
                }
              >
                Tags
              </Header>
            }
            empty={<Empty title="No tags">The private CA has no tags.</Empty>}
          />
        )
      }
    </Loading>
  );
}

type EditProps = { arn: string; tags: Tag[]; onClose(): void; onChanged(): void };

function Edit({ arn, tags, onClose, onChanged }: EditProps) {
  const notify = useNotify();
  const { running, error, run } = useAct();
  const [rows, setRows] = useState<readonly TagEditorProps.Tag[]>(() => asRows(tags));
  const [valid, setValid] = useState(true);
  const wrong = checkTags(rows);

  function save() {
    if (!valid || wrong) return focusFirstError();
    void run(async () => {
      const { created, removed } = getTagsDiff(asRows(tags), rows);
      // A tag with a new value counts as both; the server overwrites it. To untag
      // what is gone already, when this is tried again, is no error.
      const Untag = removed.filter((Key) => !(Key in created)).map((Key) => ({ Key }));
      const Tags = Object.entries(created).map(([Key, Value]) => ({ Key, Value }));
      if (Untag.length > 0) await call("UntagCertificateAuthority", { CertificateAuthorityArn: arn, Tags: Untag });
      if (Tags.length > 0) await call("TagCertificateAuthority", { CertificateAuthorityArn: arn, Tags });
      notify("success", "The tags are saved");
      onChanged();
      onClose();
    });
  }
  return (
    <Container
      header={<Header variant="h2">Manage tags</Header>}
      footer={<SaveCancel running={running} hindrance={valid ? wrong : "Mend the tags that are marked first."} onSave={save} onCancel={onClose} />}
    >
      <SpaceBetween size="l">
        <TagEditor
          tags={rows}
          tagLimit={maxTags}
          onChange={(e) => {
            setRows(e.detail.tags);
            setValid(e.detail.valid);
          }}
        />
        <Failure error={error} header="The tags were not saved" />
      </SpaceBetween>
    </Container>
  );
}

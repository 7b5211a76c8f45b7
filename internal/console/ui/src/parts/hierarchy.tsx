import Badge from "@cloudscape-design/components/badge";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Icon from "@cloudscape-design/components/icon";
import Link from "@cloudscape-design/components/link";
import { useState } from "react";
import type { HierarchyNode } from "../api";
import { at } from "../routes";
import { href, useFollow } from "../shell";
import { spaced, words } from "../text";
import { AuthorityStatus } from "./authority-status";

const shown = 25;

/**
 * The CAs above and below one, as a picture: boxes, and lines from each to those
 * that it signed. It is lists within lists, which screen readers tell the depth of.
 */
export function Hierarchy({ root }: { root: HierarchyNode }) {
  return (
    <ul className="hierarchy" aria-label="Hierarchy of certificate authorities">
      <Node node={root} />
    </ul>
  );
}

function Node({ node }: { node: HierarchyNode }) {
  const follow = useFollow();
  const [all, setAll] = useState(false);
  const children = all ? node.children : firstAndCurrent(node.children);
  const hidden = node.children.length - children.length;
  return (
    <li>
      <div className={node.current ? "node current" : "node"} aria-current={node.current || undefined}>
        <Icon name={node.type === "ROOT" ? "key" : "share"} />
        <div className="what">
          {node.arn && !node.current ? (
            <Link href={href(at.authority(node.arn))} onFollow={follow}>
              {spaced(node.subject)}
            </Link>
          ) : (
            <Box tagOverride="span" variant="span" fontWeight={node.current ? "bold" : "normal"}>
              {spaced(node.subject)}
            </Box>
          )}
          <div className="facts">
            {node.type && (
              <Box variant="span" color="text-body-secondary">
                {words(node.type)}
              </Box>
            )}
            {node.status ? <AuthorityStatus status={node.status} /> : <Box color="text-body-secondary">Not shown to you, or not on this server</Box>}
            {node.current && <Badge color="blue">This CA</Badge>}
          </div>
        </div>
      </div>
      {node.children.length > 0 && (
        <ul>
          {children.map((c, i) => (
            <Node key={c.arn || i} node={c} />
          ))}
          {hidden > 0 && (
            <li>
              <Button variant="inline-link" onClick={() => setAll(true)}>
                Show {hidden} more
              </Button>
            </li>
          )}
        </ul>
      )}
    </li>
  );
}

/** The first few of many; the branch with the CA itself is among them. */
function firstAndCurrent(children: HierarchyNode[]): HierarchyNode[] {
  const leads = (n: HierarchyNode): boolean => n.current || n.children.some(leads);
  return children.filter((c, i) => i < shown || leads(c));
}

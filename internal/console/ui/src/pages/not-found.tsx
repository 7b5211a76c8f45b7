import Box from "@cloudscape-design/components/box";
import ContentLayout from "@cloudscape-design/components/content-layout";
import Header from "@cloudscape-design/components/header";
import Link from "@cloudscape-design/components/link";
import { useLocation } from "react-router";
import { at } from "../routes";
import { href, useFollow, usePage } from "../shell";

export default function NotFound() {
  const location = useLocation();
  const follow = useFollow();
  usePage([{ text: "Not found", href: location.pathname }]);
  return (
    <ContentLayout header={<Header variant="h1">There is no such page</Header>}>
      <Box variant="p">
        The console has nothing at {href(location.pathname)}.{" "}
        <Link href={href(at.authorities)} onFollow={follow}>
          Go to the private CAs
        </Link>
      </Box>
    </ContentLayout>
  );
}

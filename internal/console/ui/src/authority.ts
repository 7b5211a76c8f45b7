import { useParams } from "react-router";
import { useSignedIn } from "./session";

/** The ARN of the CA that the page's address names. */
export function useAuthorityArn(): string {
  const { account, ca } = useParams();
  const s = useSignedIn();
  return `arn:${s.partition}:acm-pca:${s.region}:${account}:certificate-authority/${ca}`;
}

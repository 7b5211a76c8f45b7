import Alert from "@cloudscape-design/components/alert";
import Box from "@cloudscape-design/components/box";
import Button from "@cloudscape-design/components/button";
import Container from "@cloudscape-design/components/container";
import ExpandableSection from "@cloudscape-design/components/expandable-section";
import Form from "@cloudscape-design/components/form";
import FormField from "@cloudscape-design/components/form-field";
import Header from "@cloudscape-design/components/header";
import Input, { type InputProps } from "@cloudscape-design/components/input";
import SpaceBetween from "@cloudscape-design/components/space-between";
import { useEffect, useRef, useState, type SubmitEvent } from "react";
import { Navigate, useLocation, useSearchParams } from "react-router";
import { at } from "../routes";
import { useSession } from "../session";

/** Why signing in with the identity provider failed, by the word in the URL: words of our own, since anybody can make up a URL. */
const failures: Record<string, string> = {
  issuer: "The provider could not be asked, or did not answer as it must. Whoever runs this server finds the reason in its log.",
  refused: "The provider did not let you in, or you cancelled.",
  expired: "It took too long, or began in another window. Try again.",
  busy: "Too many attempts have failed. Try again in a minute.",
  denied: "Your account at the provider is known, but no role here is for it. Ask whoever runs this server.",
};

/** Exchanges an access key for a session. The secret is held by the form alone, and is gone with it. */
export default function SignIn() {
  const { session, ended, left, settings, signIn } = useSession();
  const location = useLocation();
  const [query] = useSearchParams();
  const [keyId, setKeyId] = useState("");
  const [secret, setSecret] = useState("");
  const [token, setToken] = useState("");
  const [busy, setBusy] = useState(false);
  const [tried, setTried] = useState(false);
  const [failure, setFailure] = useState("");
  const keyIdInput = useRef<InputProps.Ref>(null);
  const secretInput = useRef<InputProps.Ref>(null);
  const from = (location.state as { from?: string } | null)?.from ?? at.authorities;
  const refused = query.get("error");

  useEffect(() => {
    document.title = "Sign in – chirograph";
    keyIdInput.current?.focus();
  }, []);

  async function submit(e: SubmitEvent) {
    e.preventDefault();
    setTried(true);
    if (!keyId.trim()) return keyIdInput.current?.focus();
    if (!secret) return secretInput.current?.focus();
    setBusy(true);
    setFailure("");
    try {
      await signIn(keyId.trim(), secret.trim(), token.trim());
    } catch (e) {
      setFailure((e as Error).message);
      setBusy(false);
    }
  }

  if (session) return <Navigate to={from} replace />;
  return (
    <main className="sign-in">
      <SpaceBetween size="l">
        <div className="brand">
          <img src="/console/icon.svg" alt="" width="40" height="40" />
          <Box variant="h1" tagOverride="p" fontSize="heading-xl">
            chirograph
          </Box>
        </div>
        {ended && (
          <Alert type="info" header="Your session has ended">
            Sign in again. The page that you were on is kept as it was.
          </Alert>
        )}
        {left && <Alert type="success">You are signed out.</Alert>}
        {refused && (
          <Alert type="error" header={`Signing in with ${settings?.oidc?.name ?? "the identity provider"} failed`}>
            {failures[refused] ?? "Try again."}
          </Alert>
        )}
        <form onSubmit={(e) => void submit(e)}>
          <Form errorText={failure || undefined} errorIconAriaLabel="Error">
            <Container header={<Header variant="h1">Sign in</Header>}>
              <SpaceBetween size="l">
                {settings?.oidc && (
                  <>
                    <Button
                      fullWidth
                      iconName="external"
                      iconAlign="right"
                      href={`/console/api/oidc/start?return=${encodeURIComponent(`/console${from}`)}`}
                    >
                      Sign in with {settings.oidc.name}
                    </Button>
                    <Box textAlign="center" color="text-body-secondary">
                      or with an access key
                    </Box>
                  </>
                )}
                <FormField label="Access key ID" errorText={tried && !keyId.trim() && "Enter an access key ID."}>
                  <Input
                    ref={keyIdInput}
                    name="username"
                    value={keyId}
                    onChange={(e) => setKeyId(e.detail.value)}
                    autoComplete="username"
                    spellcheck={false}
                    ariaRequired
                    nativeInputAttributes={{ autoCapitalize: "none" }}
                  />
                </FormField>
                <FormField label="Secret access key" errorText={tried && !secret && "Enter the secret access key."}>
                  <Input
                    ref={secretInput}
                    name="password"
                    type="password"
                    value={secret}
                    onChange={(e) => setSecret(e.detail.value)}
                    autoComplete="current-password"
                    ariaRequired
                  />
                </FormField>
                <ExpandableSection variant="footer" headerText="Temporary credentials">
                  <FormField label={<>Session token - <i>optional</i></>} description="Comes with temporary credentials, for example of an assumed role.">
                    <Input name="session-token" value={token} onChange={(e) => setToken(e.detail.value)} autoComplete="off" spellcheck={false} />
                  </FormField>
                </ExpandableSection>
                <Button variant="primary" formAction="submit" fullWidth loading={busy} loadingText="Signing in">
                  Sign in
                </Button>
              </SpaceBetween>
            </Container>
          </Form>
        </form>
        <Box color="text-body-secondary" fontSize="body-s">
          The first access key was made with the server: on its machine, <Box variant="code">chirograph env</Box> names the file that
          holds it. <Box variant="code">chirograph key create</Box> makes others.
        </Box>
      </SpaceBetween>
    </main>
  );
}

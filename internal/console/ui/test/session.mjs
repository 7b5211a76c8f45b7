// Signing in and out, and sessions that end.
import { accessible, check, heading, host, narrow, open, place, press, see, signedIn, signIn, world } from "./harness.mjs";

const { admin } = world.keys;

export default [
  [
    "sign in: wrong, then right, and sign out",
    async () => {
      const page = await open();
      await page.goto("/console/");
      await heading(page, "Sign in").waitFor();
      check(page.url().endsWith("/console/sign-in"), `signing in is at ${page.url()}`);
      await accessible(page, "sign in");
      await narrow(page, "sign in");
      await press(page, "Sign in");
      await see(page, "Enter an access key ID.");
      await signIn(page, { id: admin.id, secret: "wrong" });
      await see(page, /signature|secret/i);
      await signIn(page, { id: "AKIAIOSFODNN7EXAMPLE", secret: "wrong" });
      await see(page, /access key|security token/i);
      await signIn(page, admin);
      await heading(page, "Private CAs").waitFor();
      const stored = await page.evaluate(() => JSON.stringify({ ...localStorage, ...sessionStorage }) + document.cookie);
      check(!stored.includes(admin.secret) && !stored.includes(admin.id), `the browser keeps ${stored}`);
      const [cookie] = await page.context().cookies();
      check(cookie.httpOnly && cookie.sameSite === "Strict" && cookie.path === "/console", `the cookie is ${JSON.stringify(cookie)}`);

      await press(page, /admin/);
      await see(page, /Account 123456789012/);
      await page.getByRole("menuitem", { name: "Sign out" }).click();
      await see(page, "You are signed out.");
      await page.goto("/console/authorities");
      await heading(page, "Sign in").waitFor();
      const answer = await page.context().request.post("/console/api/call/ListCertificateAuthorities", { data: {}, headers: { Cookie: `${cookie.name}=${cookie.value}` } });
      check(answer.status() === 401 || answer.status() === 403, `the cookie of a session that was left is answered ${answer.status()}`);
    },
  ],
  [
    "a session that ends is told, and its place is kept",
    async () => {
      const to = place(world.authorities.issuing, "/audit-report");
      const page = await signedIn(admin, to);
      await heading(page, "Generate audit report").waitFor();
      await page.getByLabel("S3 bucket name").fill("typed-before-the-end");
      await host("pass", { time: "31m" });
      await page.getByRole("radio", { name: "No", exact: true }).check();
      await press(page, /Read the list of buckets again/);
      await see(page, "Your session has ended");
      await signIn(page, admin);
      await heading(page, "Generate audit report").waitFor();
      check(page.url().endsWith(to), `after signing in again: ${page.url()}`);
      await page.getByRole("radio", { name: "Yes", exact: true }).check();
      check((await page.getByLabel("S3 bucket name").inputValue()) === "typed-before-the-end", "what was typed is gone");
    },
  ],
];

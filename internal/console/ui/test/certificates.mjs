// Certificates: found, shown, downloaded, revoked, counted.
import { readFile } from "node:fs/promises";
import { accessible, check, heading, host, narrow, note, place, press, same, see, signedIn, tableOf, world } from "./harness.mjs";

const { admin } = world.keys;
const { issuing, fleet, hostile, quiet } = world.authorities;

const table = (page) => tableOf(page, "Certificates");
const search = (page) => page.getByLabel("Find certificates by subject or serial number");

/** How many rows the table has once it shows a text. */
async function rows(page, text) {
  await table(page).getByText(text).first().waitFor();
  return (await table(page).getByRole("row").count()) - 1;
}

export default [
  [
    "certificates by subject, serial number, status and template",
    async () => {
      const page = await signedIn(admin, place(issuing, "?tab=certificates"));
      await rows(page, "host-59");
      await accessible(page, "certificates");
      await narrow(page, "certificates");
      await search(page).fill("host-04-0");
      await page.waitForFunction(() => location.search.includes("host-04-0"));
      same(await rows(page, "host-04-0"), 1, "certificates with the subject host-04-0");
      await table(page).getByText("Revoked").first().waitFor();
      const serial = await table(page).getByRole("link").first().textContent();
      await search(page).fill(serial);
      same(await rows(page, "host-04-0"), 1, "certificates with the serial number");
      await search(page).fill("no-such-host");
      await see(page, "No matches");
      await press(page, "Clear filters");
      await page.getByRole("button", { name: /^Status Any/ }).click();
      await page.getByRole("option", { name: "Revoked" }).click();
      await page.waitForFunction(() => location.search.includes("REVOKED"));
      await table(page).getByText("host-58").first().waitFor();
      for (const row of (await table(page).getByRole("row").allTextContents()).slice(1)) check(row.includes("Revoked"), `among the revoked: ${row}`);
      await page.goto(place(issuing, `?tab=certificates&template=${encodeURIComponent("arn:aws:acm-pca:::template/CodeSigningCertificate/V1")}`));
      await rows(page, "CodeSigningCertificate/V1");
      for (const row of (await table(page).getByRole("row").allTextContents()).slice(1)) check(row.includes("CodeSigning"), `among the code-signing ones: ${row}`);

      const begun = Date.now();
      await page.goto(place(fleet, "?tab=certificates"));
      await table(page).getByRole("link").first().waitFor();
      note(`certificates of a CA with 20,000: ${Date.now() - begun} ms`);
      const first = await table(page).getByRole("link").first().textContent();
      await press(page, /next page/i);
      await page.waitForFunction((serial) => ![...document.querySelectorAll("table a")].some((a) => a.textContent === serial), first);
    },
  ],
  [
    "a certificate: details, download, revocation",
    async () => {
      const page = await signedIn(admin, place(issuing, "?tab=certificates&q=host-20-0"));
      await rows(page, "host-20-0");
      await table(page).getByRole("link").first().click();
      await heading(page, "Certificate").waitFor();
      await see(page, /CN=host-20-0\.example\.com/);
      await tableOf(page, "Extensions").waitFor();
      await accessible(page, "certificate");
      await narrow(page, "certificate");
      const [file] = await Promise.all([page.waitForEvent("download"), press(page, "Download certificate")]);
      check((await readFile(await file.path(), "utf8")).startsWith("-----BEGIN CERTIFICATE-----"), "the download is not PEM");
      await press(page, "Revoke");
      const dialog = page.getByRole("dialog");
      await dialog.getByRole("button", { name: /Reason/ }).click();
      await page.getByRole("option", { name: /^Key compromise/ }).click();
      await dialog.getByRole("textbox").fill("revoke");
      await accessible(page, "revoke");
      await dialog.getByRole("button", { name: "Revoke" }).click();
      await see(page, "The certificate is revoked");
      await see(page, "Key compromise");
      const button = page.getByRole("button", { name: "Revoke", exact: true });
      await button.waitFor();
      same(await button.getAttribute("aria-disabled"), "true", "what is revoked can be revoked again");
      await page.goto(place(issuing, "?tab=certificates&q=host-20-0"));
      await table(page).getByText("Revoked").first().waitFor();
    },
  ],
  [
    "names that are attempts to run a script are text",
    async () => {
      const page = await signedIn(admin);
      await see(page, /CN=<img src=x onerror=alert\(1\)>/);
      await page.goto(place(hostile));
      await page.getByRole("heading", { name: /<img src=x onerror=alert\(1\)>/ }).first().waitFor();
      for (const [tab, sign] of [["CA certificate", "Extensions"], ["Statistics", "By template"], ["Tags", "javascript:alert"], ["Log", "Entry"], ["Certificates", "javascript:alert(5)"]]) {
        await page.getByRole("tab", { name: tab, exact: true }).click();
        await see(page, sign);
      }
      for (const text of [/script.*alert\(3\)/, /svg onload.*alert\(4\)/, "javascript:alert(5)"]) await table(page).getByText(text).first().waitFor();
      await search(page).fill("<script>alert(6)</script>");
      await page.waitForFunction(() => location.search.includes("alert"));
      await page.goto(place(hostile, "?tab=certificates&q=%3Cscript%3Ealert(7)%3C/script%3E"));
      await table(page).waitFor();
      await page.goto("/console/sign-in?error=%3Cimg%20src=x%20onerror=alert(8)%3E");
      await heading(page, "Private CAs").waitFor();
      await page.goto(place(hostile, "?tab=certificates"));
      await table(page).getByRole("row").filter({ hasText: "svg" }).getByRole("link").click();
      await see(page, /svg onload.*alert\(4\)/);
      check((await page.locator("#root script, #root img[src=x], #root svg[onload], a[href^='javascript:']").count()) === 0, "a name became markup");
    },
  ],
  [
    "CRLs and OCSP: switched on, a bucket that refuses, a revocation, the list that has it",
    async () => {
      await host("bucket", { bucket: "revocation-lists" });
      const page = await signedIn(admin, place(quiet, "?tab=revocation"));
      await see(page, "CRL distribution");
      await press(page, "Edit");
      await page.getByRole("checkbox", { name: /^Activate CRL/ }).check();
      await page.getByRole("combobox", { name: /^S3 bucket name/ }).fill("revocation-lists");
      await page.getByRole("radio", { name: /^The bucket's owner/ }).check();
      await page.getByRole("checkbox", { name: /^Turn on OCSP/ }).check();
      await accessible(page, "revocation form");
      await press(page, "Save changes");
      await see(page, /Check your S3 bucket permissions and try again/);
      await host("grant", { bucket: "revocation-lists" });
      await press(page, "Save changes");
      await see(page, "The revocation configuration is updated");
      await see(page, /\/ocsp$/);

      const { serial } = await host("issue", { ca: quiet, name: "fresh.example.com" });
      await page.goto(place(quiet, `/certificates/${serial}`));
      await see(page, "CRL distribution points");
      await press(page, "Revoke");
      await page.getByRole("dialog").getByRole("button", { name: /Reason/ }).click();
      await page.getByRole("option", { name: /^Superseded/ }).click();
      await page.getByRole("dialog").getByRole("textbox").fill("revoke");
      await page.getByRole("dialog").getByRole("button", { name: "Revoke" }).click();
      await see(page, "The certificate is revoked");

      await page.goto(place(quiet, "?tab=revocation"));
      await press(page, "Publish now");
      await see(page, "The CRLs are made and written");
      const list = tableOf(page, "CRLs").getByRole("row").filter({ hasText: "/crl/revocation-lists/crl/" });
      await list.getByText(/^Written/).waitFor();
      await list.getByRole("cell", { name: "1", exact: true }).waitFor();
      await accessible(page, "CRLs");
      await narrow(page, "CRLs");
    },
  ],
  [
    "statistics",
    async () => {
      const page = await signedIn(admin, place(issuing, "?tab=statistics"));
      for (const title of ["Issued and revoked per day", "Expiring in the next 90 days", "By template", "By key algorithm"]) await heading(page, title).waitFor();
      for (const name of [/issued and revoked per day/, /expire, per day/, /by template/, /by key algorithm/]) await page.getByRole("application", { name }).or(page.getByLabel(name)).first().waitFor();
      await accessible(page, "statistics");
      await narrow(page, "statistics");
    },
  ],
];

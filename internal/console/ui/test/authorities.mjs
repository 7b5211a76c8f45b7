// Private CAs: the table, the wizard, installing, the actions, tags and sharing.
import { readFile } from "node:fs/promises";
import { accessible, act, check, heading, host, narrow, place, press, same, see, signedIn, tableOf, world } from "./harness.mjs";

const { admin, reader } = world.keys;
const { root, issuing } = world.authorities;

const table = (page) => tableOf(page, "Private CAs");
const row = (page, subject) => table(page).getByRole("row").filter({ hasText: subject });

/** Walks the wizard to its end; the CA that it makes is shown then. */
async function create(page, { type, name, tag }) {
  await page.goto("/console/authorities/create");
  await page.getByRole("radio", { name: new RegExp(`^${type}`) }).check();
  await press(page, "Next");
  await press(page, "Next");
  await see(page, "Give at least one attribute"); // an empty name goes no further
  await page.getByLabel("Organization (O)").fill("Example Corp");
  await page.getByLabel("Common name (CN)").fill(name);
  await press(page, "Next");
  await page.getByRole("button", { name: /^Key algorithm/ }).click();
  await page.getByRole("option", { name: /P-?256|prime256v1/i }).first().click();
  await press(page, "Next");
  await see(page, "Certificate revocation options");
  await page.getByRole("checkbox", { name: /^Activate CRL/ }).check();
  await press(page, "Next");
  await see(page, "Give the name of a bucket."); // lists go somewhere
  await page.getByRole("checkbox", { name: /^Activate CRL/ }).uncheck();
  await page.getByRole("checkbox", { name: /^Turn on OCSP/ }).check();
  await press(page, "Next");
  if (tag) {
    await press(page, "Add new tag");
    await page.getByLabel("Key").last().fill(tag[0]);
    await page.getByLabel(/^Value/).last().fill(tag[1]);
  }
  await press(page, "Next");
  await see(page, "Step 5: Tags");
  await see(page, new RegExp(`CN=${name}`));
  if (tag) await see(page, tag[1]);
  return async () => {
    await press(page, "Create CA");
    await see(page, "The certificate authority is created");
    await page.getByText(/^The key pair is made/).waitFor();
  };
}

export default [
  [
    "private CAs: search, filter, sort, pages, preferences",
    async () => {
      const page = await signedIn(admin);
      await row(page, "Example Corp Issuing CA").waitFor();
      for (const text of ["Subordinate", "Active", "General-purpose"]) check((await row(page, "Example Corp Issuing CA").textContent()).includes(text), `the row lacks ${text}`);
      await accessible(page, "private CAs");
      await narrow(page, "private CAs");

      const search = page.getByLabel("Find private CAs");
      await search.fill("fleet");
      await see(page, "1 match");
      same((await table(page).getByRole("row").count()) - 1, 1, "rows with the word fleet");
      check((await row(page, "Example Fleet CA").textContent()).includes("20,001"), "the fleet's certificates are not counted");
      await search.fill("subordinate active");
      await row(page, "Example Corp Issuing CA").waitFor();
      same((await table(page).getByRole("row").count()) - 1, 1, "active subordinate CAs");
      await search.fill("no such CA");
      await see(page, "No matches");
      await press(page, "Clear filter");

      const subjects = async () => (await table(page).getByRole("rowheader").allTextContents()).map((s) => s.trim());
      const ascending = await subjects();
      await table(page).getByRole("button", { name: "Subject" }).first().press("Enter");
      same((await subjects()).join(), ascending.toReversed().join(), "sorted the other way round");

      await press(page, /Preferences/);
      await page.getByRole("dialog").getByLabel("10 private CAs").check();
      await page.getByRole("dialog").getByLabel("Mode").uncheck();
      await accessible(page, "preferences");
      await press(page, "Confirm");
      await page.reload();
      await row(page, "Example Corp Issuing CA").waitFor();
      same(await table(page).getByRole("columnheader", { name: "Mode" }).count(), 0, "columns of the name Mode after a reload");
    },
  ],
  [
    "create a root CA, install its certificate, and a subordinate CA below it",
    async () => {
      const page = await signedIn(admin);
      await heading(page, "Private CAs").waitFor();
      const finish = await create(page, { type: "Root", name: "Payments Root CA", tag: ["stage", "production"] });
      await accessible(page, "create private CA");
      await narrow(page, "create private CA");
      await finish();
      await press(page, "Install CA certificate");
      await page.getByLabel("Number").fill("20");
      await accessible(page, "install CA certificate");
      await press(page, "Confirm and install");
      await see(page, "The CA certificate is installed");
      await heading(page, /Payments Root CA/).waitFor();
      await see(page, "Active");
      await page.getByRole("tab", { name: "Tags" }).click();
      await page.getByRole("table").or(page.getByRole("grid")).getByText("production").waitFor();

      await (await create(page, { type: "Subordinate", name: "Payments Issuing CA" }))();
      await press(page, "Install CA certificate");
      await page.getByRole("button", { name: /^Parent private CA/ }).click();
      await page.getByRole("option", { name: /Payments Root CA/ }).click();
      await press(page, "Confirm and install");
      await see(page, "The CA certificate is installed");
      await heading(page, /Payments Issuing CA/).waitFor();
      const tree = page.getByRole("list", { name: "Hierarchy of certificate authorities" });
      await tree.getByRole("link", { name: /Payments Root CA/ }).waitFor();
      await tree.getByText(/Payments Issuing CA/).waitFor();
    },
  ],
  [
    "a subordinate CA that a CA elsewhere signs",
    async () => {
      const page = await signedIn(admin);
      await heading(page, "Private CAs").waitFor();
      await (await create(page, { type: "Subordinate", name: "Partner-Signed CA" }))();
      await press(page, "Install CA certificate");
      await page.getByRole("radio", { name: /^External private CA/ }).check();
      const [file] = await Promise.all([page.waitForEvent("download"), press(page, "Download CSR")]);
      const signed = await host("sign", { csr: await readFile(await file.path(), "utf8") });
      await press(page, "Confirm and install");
      await see(page, /Give text in PEM form/);
      await page
        .getByLabel("Choose a file with the certificate body")
        .first()
        .setInputFiles({ name: "certificate.pem", mimeType: "application/x-pem-file", buffer: Buffer.from(signed.certificate) });
      await page.getByLabel("Certificate chain", { exact: true }).fill(signed.chain);
      await press(page, "Confirm and install");
      await see(page, "The CA certificate is installed");
      await page.getByRole("tab", { name: "CA certificate" }).click();
      await see(page, /CN=Foreign Root CA/);
    },
  ],
  [
    "disable, enable, delete with the period, restore",
    async () => {
      const page = await signedIn(admin);
      await page.getByRole("radio", { name: "Choose CN=Example Quiet CA" }).check();
      const does = async (name, verb, before = async () => {}) => {
        await act(page, name);
        await before(page.getByRole("dialog"));
        await page.getByRole("dialog").getByRole("button", { name: verb, exact: true }).click();
        await page.getByRole("dialog").waitFor({ state: "detached" });
      };
      await does("Disable", "Disable");
      await row(page, "Example Quiet CA").getByText("Disabled").waitFor();
      await does("Enable", "Enable");
      await row(page, "Example Quiet CA").getByText("Active").waitFor();
      await press(page, /^Actions/);
      const item = page.getByRole("menuitem", { name: "Delete", exact: true });
      same(await item.getAttribute("aria-disabled"), "true", "an active CA can be deleted");
      await item.hover();
      await see(page, "The status is Active; disable it first.");
      await press(page, /^Actions/); // closes the menu
      await item.waitFor({ state: "hidden" });
      await does("Disable", "Disable");
      await row(page, "Example Quiet CA").getByText("Disabled").waitFor();
      await does("Delete", "Delete", async (dialog) => {
        await dialog.getByLabel("Restoration period (days)").fill("3");
        await dialog.getByText("Give a number of days from 7 to 30.").first().waitFor();
        await dialog.getByLabel("Restoration period (days)").fill("7");
        await dialog.getByLabel(/To confirm/).fill("delete");
        await accessible(page, "delete");
      });
      await row(page, "Example Quiet CA").getByText("Deleted").waitFor();
      await does("Restore", "Restore");
      await row(page, "Example Quiet CA").getByText("Disabled").waitFor();
      await does("Enable", "Enable");
      await row(page, "Example Quiet CA").getByText("Active").waitFor();
    },
  ],
  [
    "a CA's page: certificate and chain, tags, permissions, sharing, revocation, log",
    async () => {
      const page = await signedIn(admin, place(issuing));
      await heading(page, /Example Corp Issuing CA/).waitFor();
      await page.getByRole("list", { name: "Hierarchy of certificate authorities" }).getByRole("link", { name: /Example Corp Root CA/ }).waitFor();
      await accessible(page, "overview");
      await narrow(page, "overview");
      const tab = async (name, sign) => {
        await page.getByRole("tab", { name, exact: true }).click();
        await page.getByText(sign).filter({ visible: true }).first().waitFor();
        await accessible(page, name);
        await narrow(page, name);
      };
      await tab("CA certificate", "Certificate chain");
      const [file] = await Promise.all([page.waitForEvent("download"), press(page, "Download chain")]);
      check((await readFile(await file.path(), "utf8")).startsWith("-----BEGIN CERTIFICATE-----"), "the chain is not PEM");

      await tab("Tags", "platform");
      await press(page, "Manage tags");
      await press(page, "Add new tag");
      await page.getByLabel("Key").last().fill("cost");
      await page.getByLabel(/^Value/).last().fill("4711");
      await press(page, "Save changes");
      await see(page, "The tags are saved");
      await page.getByRole("table").or(page.getByRole("grid")).getByText("4711").waitFor();

      await tab("Sharing", "Not shared");
      await press(page, "Share");
      await page.getByRole("dialog").getByLabel("Account ID").fill("111122223333");
      await accessible(page, "share");
      await page.getByRole("dialog").getByRole("button", { name: "Share", exact: true }).click();
      await see(page, "The private CA is shared with 111122223333");
      await see(page, "(1)");
      await page.getByRole("table").or(page.getByRole("grid")).getByText(/111122223333/).first().waitFor();
      await press(page, "Create permission");
      await page.getByRole("dialog").getByRole("button", { name: "Create", exact: true }).click();
      await see(page, "The permission is created");
      await page.getByRole("table").or(page.getByRole("grid")).getByText("acm.amazonaws.com").waitFor();
      await press(page, "Delete policy");
      await page.getByRole("dialog").getByRole("button", { name: "Delete", exact: true }).click();
      await see(page, "Not shared");

      await tab("Revocation", "CRL distribution");
      await tab("Log", "Entry");
      await tableOf(page, "Log").getByRole("row").nth(1).waitFor();
      await page.goto("/console/templates");
      await see(page, "EndEntityCertificate");
      await accessible(page, "templates");
      await narrow(page, "templates");
      await page.goto("/console/no-such-page");
      await page.getByRole("heading").first().waitFor();
      await accessible(page, "not found");
    },
  ],
  [
    "a principal who may only read",
    async () => {
      const page = await signedIn(reader);
      await row(page, "Example Corp Root CA").waitFor();
      const button = page.getByRole("button", { name: "Create private CA" }).or(page.getByRole("link", { name: "Create private CA" })).first();
      same(await button.getAttribute("aria-disabled"), "true", "who may not create CAs can press Create private CA");
      await button.hover();
      await see(page, /acm-pca:CreateCertificateAuthority/);
      await page.getByRole("radio", { name: "Choose CN=Example Corp Root CA" }).check();
      await press(page, /^Actions/);
      const item = page.getByRole("menuitem", { name: "Disable" });
      await page.getByRole("menuitem", { name: "Disable", disabled: true }).waitFor();
      await item.hover();
      await see(page, /acm-pca:UpdateCertificateAuthority/);
      await page.keyboard.press("Escape");
      await page.goto(place(root, "/audit-report"));
      await see(page, "You may not generate audit reports of this private CA");
      check(await page.getByLabel("S3 bucket name").isDisabled(), "a form that is of no use can be filled in");
      await page.goto(place(root, "?tab=certificates"));
      await tableOf(page, "Certificates").getByRole("link").first().waitFor();

      // The server decides, whatever the page says.
      const answers = await page.evaluate(async (arn) => {
        const { csrf } = await (await fetch("/console/api/session")).json();
        const call = async (operation, body, headers) => {
          const r = await fetch(`/console/api/call/${operation}`, { method: "POST", body: JSON.stringify(body), headers: { "Content-Type": "application/json", ...headers } });
          return `${r.status} ${(await r.json()).__type}`;
        };
        return {
          right: await call("UpdateCertificateAuthority", { CertificateAuthorityArn: arn, Status: "DISABLED" }, { "X-CSRF-Token": csrf }),
          token: await call("ListCertificateAuthorities", {}, {}),
        };
      }, root);
      check(/^4\d\d AccessDenied/.test(answers.right), `a call without the right is answered ${answers.right}`);
      check(/^4\d\d /.test(answers.token), `a call without the token is answered ${answers.token}`);
    },
  ],
];

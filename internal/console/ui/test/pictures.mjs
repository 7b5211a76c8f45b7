// The pictures of docs/console.md and README.md, when they are asked for.
import path from "node:path";
import { heading, place, see, signedIn, tableOf, world } from "./harness.mjs";

const { admin } = world.keys;
const { issuing, root } = world.authorities;

async function picture(page, name) {
  await page.waitForLoadState("networkidle");
  await page.mouse.move(0, 0);
  await page.screenshot({ path: path.join(world.screenshots, `${name}.png`), animations: "disabled", caret: "hide" });
}

const flow = [
  "pictures",
  async () => {
    const page = await signedIn(admin);
    await page.getByRole("button", { name: "Close side navigation" }).click(); // room for more columns
    await page.getByLabel("Find private CAs").fill("example corp");
    await see(page, /matches/);
    await page.getByRole("radio", { name: "Choose CN=Example Corp Issuing CA" }).check();
    await page.waitForLoadState("networkidle");
    await page.getByRole("button", { name: /^Actions/ }).click();
    await page.getByRole("menuitem", { name: "Generate audit report" }).waitFor();
    await picture(page, "authorities");

    await page.goto(place(issuing));
    await page.getByRole("tab", { name: "Overview" }).scrollIntoViewIfNeeded();
    await picture(page, "authority");

    await page.goto(place(root, "/audit-report"));
    await page.getByLabel("S3 bucket name").fill("audit-reports-2026");
    await picture(page, "generate-report");

    await page.goto(place(issuing, "?tab=reports"));
    await tableOf(page, "Audit reports").getByRole("link").first().click();
    await heading(page, "Audit report").waitFor();
    await page.getByRole("button", { name: "Verify now" }).waitFor();
    await picture(page, "report");
    await tableOf(page, "Verdicts").scrollIntoViewIfNeeded();
    await picture(page, "verdicts");

    await page.goto(place(issuing, "?tab=certificates&status=REVOKED"));
    await tableOf(page, "Certificates").getByText("Revoked").first().waitFor();
    await page.getByRole("tab", { selected: true }).evaluate((tab) => tab.scrollIntoView());
    await picture(page, "certificates");

    await page.goto(place(issuing, "?tab=statistics"));
    await heading(page, "Expiring in the next 90 days").scrollIntoViewIfNeeded();
    await heading(page, "Issued and revoked per day").scrollIntoViewIfNeeded();
    await picture(page, "statistics");
  },
];

export default world.screenshots ? [flow] : [];

// Actions > Generate audit report, and what becomes of reports.
import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { accessible, act, check, heading, host, narrow, note, open, place, press, same, see, signedIn, signIn, tableOf, world } from "./harness.mjs";

const { admin } = world.keys;
const { issuing, fleet, root, hostile, delayed } = world.authorities;

const choose = (page, answer) => page.getByRole("radio", { name: answer, exact: true }).check();
const format = (page, name) => page.getByRole("radio", { name: new RegExp(`^${name}`) }).check();
const generate = (page) => page.getByRole("main").getByRole("button", { name: "Generate audit report", exact: true }).click();

async function chooseBucket(page, name) {
  await page.getByRole("button", { name: /^S3 bucket/ }).click();
  await page.getByRole("option", { name: new RegExp(`^${name}`) }).click();
}

/** The report of the page that is shown, once it is there. */
async function success(page) {
  await heading(page, "Audit report").waitFor();
  await page.getByText("Success", { exact: true }).first().waitFor();
  const [, bucket, key] = /s3:\/\/([^/]+)\/(\S+)/.exec(await page.getByText(/^s3:\/\//).first().textContent());
  return { bucket, key, object: await host("object", { bucket, key }) };
}

/** Rows and revoked certificates, as the report's page says them. */
async function figures(page, rows, revoked) {
  const value = (label) => page.getByRole("term").filter({ hasText: new RegExp(`^${label}$`) }).locator("xpath=following-sibling::dd").first().textContent();
  same(await value("Rows"), String(rows), "rows");
  same(await value("Revoked"), String(revoked), "revoked");
}

async function download(page, button) {
  const [file] = await Promise.all([page.waitForEvent("download"), press(page, button)]);
  return { name: file.suggestedFilename(), bytes: await readFile(await file.path(), "utf8") };
}

export default [
  [
    "generate audit report with a new bucket, from the table",
    async () => {
      const page = await signedIn(admin);
      await page.getByRole("radio", { name: "Choose CN=Example Corp Issuing CA" }).check();
      await act(page, "Generate audit report");
      await heading(page, "Generate audit report").waitFor();
      await page.getByRole("radio", { name: "Yes", exact: true }).waitFor();
      await accessible(page, "generate audit report");
      await narrow(page, "generate audit report");
      await generate(page);
      await see(page, /3 to 63|name/i);
      await page.getByLabel("S3 bucket name").fill("Not A Bucket");
      await generate(page);
      check(page.url().endsWith("/audit-report"), "a wrong name was accepted");
      await page.getByLabel("S3 bucket name").fill("audit-reports-new");
      await format(page, "JSON");
      await generate(page);
      const { bucket, key, object } = await success(page);
      same(bucket, "audit-reports-new", "the bucket");
      check(/^audit-report\/[0-9a-f-]{36}\/[0-9a-f-]{36}\.json$/.test(key), `the key ${key}`);
      const rows = JSON.parse(object);
      const revoked = rows.filter((r) => r.revokedAt).length;
      await figures(page, rows.length, revoked);
      const policy = JSON.stringify(await host("policy", { bucket }));
      for (const part of ["acm-pca.amazonaws.com", "s3:PutObject", "s3:PutObjectAcl", "s3:GetBucketAcl", "s3:GetBucketLocation", "arn:aws:s3:::audit-reports-new/*"]) {
        check(policy.includes(part), `the policy of the new bucket lacks ${part}: ${policy}`);
      }

      // The first rows, as the file has them.
      const preview = tableOf(page, "First rows of the report");
      await preview.getByText(rows[0].serial).waitFor();
      await preview.getByText(rows[0].subject).first().waitFor();

      const file = await download(page, "Download report");
      same(createHash("sha256").update(file.bytes).digest("hex"), createHash("sha256").update(object).digest("hex"), "the digest of the download");
      check(file.name.endsWith(".json"), `the download is named ${file.name}`);
      check((await download(page, "Download manifest")).bytes.includes("audit-report/"), "the manifest says nothing of the report");

      await press(page, "Verify now");
      await see(page, /Nothing is wrong/);
      await tableOf(page, "Verdicts").getByText("Pass").first().waitFor();
      await see(page, /Verified here/);
      await accessible(page, "audit report");
      await narrow(page, "audit report");

      // The 30-minute rule: why not, and when.
      await page.goto(place(issuing, "?tab=reports"));
      await tableOf(page, "Audit reports").getByText("Success").waitFor();
      const button = page.getByRole("button", { name: "Generate audit report" });
      same(await button.getAttribute("aria-disabled"), "true", "the button below the 30-minute rule is disabled");
      await button.hover();
      await see(page, /Possible from \d{4}-\d\d-\d\d \d\d:\d\d:\d\d UTC/);
      await accessible(page, "audit reports");
      await press(page, /^Actions/);
      const item = page.getByRole("menuitem", { name: "Generate audit report" });
      same(await item.getAttribute("aria-disabled"), "true", "the action below the 30-minute rule is disabled");
      await page.goto(place(issuing, "/audit-report"));
      await see(page, "No audit report can be generated now");
      await see(page, /Possible from/);
      await host("pass", { time: "31m" });
      await page.goto(place(issuing, "/audit-report"));
      await signIn(page, admin);
      await page.getByRole("radio", { name: "Yes", exact: true }).waitFor();
      await page.getByText("No audit report can be generated now").waitFor({ state: "hidden" }); // 31 minutes later
    },
  ],
  [
    "generate audit report with an existing bucket: refused, repaired, CSV",
    async () => {
      await host("bucket", { bucket: "no-policy-yet" });
      const page = await signedIn(admin, place(root, "/audit-report"));
      await choose(page, "No");
      await chooseBucket(page, "no-policy-yet");
      await see(page, /Refused: /);
      await accessible(page, "a refused bucket");
      await generate(page);
      await see(page, /may not write there/);
      check(page.url().endsWith("/audit-report"), "a refused bucket was accepted");
      await page.getByText(/^Refused: /).waitFor({ state: "hidden" }); // said once
      await page.getByText(/"aws:SourceAccount"/).first().waitFor();
      await press(page, "Attach policy");
      await see(page, /Allowed: /);
      await format(page, "CSV");
      await generate(page);
      const { bucket, key, object } = await success(page);
      same(bucket, "no-policy-yet", "the bucket");
      check(key.endsWith(".csv") && object.startsWith("awsAccountId,requestedByServicePrincipal,certificateArn,serial,subject,"), `${key}: ${object.slice(0, 80)}`);
      await press(page, "Verify now");
      await see(page, /Nothing is wrong/);

      // A bucket that has the policy already.
      await page.goto(place(hostile, "/audit-report"));
      await choose(page, "No");
      await chooseBucket(page, "no-policy-yet");
      await see(page, /Allowed: /);
      await generate(page);
      const report = await success(page);
      same(JSON.parse(report.object).length, 4, "rows of the hostile CA");
      await tableOf(page, "First rows of the report").getByText(/script.*alert\(3\)/).first().waitFor();
    },
  ],
  [
    "a report of many certificates",
    async () => {
      const page = await signedIn(admin, place(fleet, "/audit-report"));
      await page.getByLabel("S3 bucket name").fill("fleet-reports");
      const begun = Date.now();
      await generate(page);
      const { object } = await success(page);
      note(`20,000 certificates: ${Date.now() - begun} ms to SUCCESS`);
      const rows = JSON.parse(object);
      same(rows.length, 20_001, "rows");
      await figures(page, "20,001", rows.filter((r) => r.revokedAt).length);
      await press(page, "Verify now");
      await see(page, /Nothing is wrong/);
    },
  ],
  [
    "progress from CREATING to SUCCESS, and FAILED with the reason",
    async () => {
      const page = await open();
      await page.goto(world.delayed + place(delayed, "/audit-report"));
      await signIn(page, world.keys.delayed);
      await page.getByLabel("S3 bucket name").fill("delayed-reports");
      await host("hold");
      try {
        await generate(page);
        await see(page, "Creating the audit report");
        await see(page, /of \d+ log entries/);
        await page.getByRole("button", { name: "Download report" }).waitFor();
        await page.goto(world.delayed + place(delayed, "?tab=reports"));
        await page.getByRole("progressbar").first().waitFor();
        await press(page, /^Actions/);
        same(await page.getByRole("menuitem", { name: "Generate audit report" }).getAttribute("aria-disabled"), "true", "the action while a report is created");
        await page.keyboard.press("Escape");
      } finally {
        await host("release");
      }
      await tableOf(page, "Audit reports").getByText("Success").waitFor();

      await host("pass", { time: "31m" });
      await page.goto(world.delayed + place(delayed, "/audit-report"));
      await signIn(page, world.keys.delayed);
      await choose(page, "No");
      await chooseBucket(page, "delayed-reports");
      await see(page, /Allowed: /);
      await host("hold");
      try {
        await generate(page);
        await see(page, "Creating the audit report");
        await host("detach", { bucket: "delayed-reports" });
      } finally {
        await host("release");
      }
      await see(page, "The audit report was not created");
      await see(page, /policy/i);
      await see(page, "Failed");
      await accessible(page, "a failed report");
    },
  ],
  [
    "sign in and generate a report with the keyboard alone",
    async () => {
      const page = await open();
      await page.goto(place(world.authorities.quiet, "/audit-report"));
      await page.getByLabel("Access key ID").waitFor();
      await page.keyboard.type(admin.id);
      await page.keyboard.press("Tab");
      await page.keyboard.type(admin.secret);
      await page.keyboard.press("Enter");
      await page.getByRole("radio", { name: "Yes", exact: true }).waitFor();
      const until = async (what, locator) => {
        for (let n = 0; n < 60; n++) {
          if (await locator.evaluate((e) => e === document.activeElement)) return;
          await page.keyboard.press("Tab");
        }
        throw new Error(`sixty times Tab do not reach ${what}`);
      };
      await until("the question", page.getByRole("radio", { name: "Yes", exact: true }));
      await until("the bucket's name", page.getByLabel("S3 bucket name"));
      await page.keyboard.type("by-keyboard");
      await until("the format", page.getByRole("radio", { name: /^JSON/ }));
      await page.keyboard.press("ArrowRight");
      await until("the button", page.getByRole("button", { name: "Generate audit report", exact: true }));
      await page.keyboard.press("Enter");
      const { key } = await success(page);
      check(key.endsWith(".csv"), `the arrow chose ${key}`);
    },
  ],
];

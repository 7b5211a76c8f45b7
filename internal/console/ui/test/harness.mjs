// The frame of the browser tests. cmd/chirograph/console_browser_test.go starts
// the servers, runs this in one process, and reads a line of JSON for each flow.
import axe from "axe-core";
import { chromium } from "playwright-core";

export const world = JSON.parse(process.env.CONSOLE_WORLD);

/** What a browser cannot do, such as turning the servers' clock. */
export async function host(what, input = {}) {
  const r = await fetch(`${world.host}/${what}`, { method: "POST", body: JSON.stringify(input) });
  if (!r.ok) throw new Error(`${what}: ${await r.text()}`);
  return r.json();
}

export function check(ok, words) {
  if (!ok) throw new Error(words);
}

export const same = (got, want, what) => check(got === want, `${what}: ${JSON.stringify(got)}, want ${JSON.stringify(want)}`);

let browser;
const troubles = []; // what no page may do, whatever the flow looks at
const notes = [];
export const note = (words) => notes.push(words);

/** A window of its own, with its own cookies. */
export async function open(options = {}) {
  const context = await browser.newContext({
    viewport: { width: 1280, height: 800 },
    locale: "en-GB",
    timezoneId: "UTC",
    reducedMotion: "reduce",
    acceptDownloads: true,
    baseURL: world.url,
    ...options,
  });
  context.setDefaultTimeout(Number(process.env.CONSOLE_PATIENCE || 30_000));
  await context.addInitScript(() => {
    document.addEventListener("securitypolicyviolation", (e) => console.error(`CSP: ${e.violatedDirective} ${e.blockedURI} ${e.sample}`));
  });
  context.on("console", (m) => {
    // Refusals are part of the flows; the browser tells each as an error, too.
    if (m.type() === "error" && !/^Failed to load resource: the server responded with a status of 4\d\d/.test(m.text())) troubles.push(`console: ${m.text()}`);
  });
  context.on("weberror", (e) => troubles.push(`page: ${e.error().stack}`));
  context.on("response", (r) => r.status() >= 500 && troubles.push(`status ${r.status()} of ${r.url()}`));
  context.on("request", (r) => {
    if (![world.url, world.s3, world.delayed].some((own) => r.url().startsWith(own)) && !/^(data|blob):/.test(r.url())) troubles.push(`a request to ${r.url()}`);
  });
  context.on("dialog", (d) => {
    troubles.push(`dialog: ${d.message()}`);
    void d.dismiss();
  });
  return context.newPage();
}

/** Signs in on the page that is shown. */
export async function signIn(page, who) {
  await page.getByLabel("Access key ID").fill(who.id);
  await page.getByLabel("Secret access key").fill(who.secret);
  await page.getByRole("button", { name: "Sign in", exact: true }).click();
}

/** A window in which somebody is signed in, and sees a page. */
export async function signedIn(who, to = "/console/", options = {}) {
  const page = await open(options);
  await page.goto(to);
  await signIn(page, who);
  return page;
}

export const heading = (page, name) => page.getByRole("heading", { name }).first();
export const see = (page, text) => page.getByText(text).filter({ visible: true }).first().waitFor();
export const press = (page, name) => page.getByRole("button", { name }).filter({ visible: true }).first().click();

/** A table by its name; those whose cells the arrow keys walk are grids. */
export const tableOf = (page, name) => page.getByRole("table", { name }).or(page.getByRole("grid", { name })).first();

/** Chooses from the menu Actions. */
export async function act(page, name) {
  await press(page, /^Actions/);
  await page.getByRole("menuitem", { name, exact: true }).click();
}

/** Where a page of a CA is. */
export const place = (arn, rest = "") => `/console/authorities/${arn.split(":")[4]}/${arn.split("/")[1]}${rest}`;

/** Nothing that axe-core calls serious or critical, in light and in dark. */
export async function accessible(page, what) {
  const begun = Date.now();
  for (const dark of [false, true]) {
    await page.emulateMedia({ colorScheme: dark ? "dark" : "light" });
    if (!(await page.evaluate("'axe' in window"))) await page.evaluate(axe.source);
    const found = await page.evaluate(
      (only) => globalThis.axe.run(document, { resultTypes: ["violations"], ...(only ? { runOnly: only } : {}) }),
      dark ? ["color-contrast"] : null, // nothing else depends on the mode
    );
    for (const v of found.violations.filter((v) => v.impact === "serious" || v.impact === "critical")) {
      const where = v.nodes.slice(0, 3).map((n) => `${n.target.join(" ")}: ${n.html.slice(0, 200)} ${n.failureSummary ?? ""}`);
      throw new Error(`${what}${dark ? ", dark" : ""}: ${v.id} (${v.impact}): ${v.help}\n${where.join("\n")}`);
    }
  }
  await page.emulateMedia({ colorScheme: "light" });
  note(`axe-core: ${what}: ${Date.now() - begun} ms`);
}

/** Nothing has to be scrolled sideways in a window as narrow as a small telephone. */
export async function narrow(page, what) {
  await page.setViewportSize({ width: 320, height: 640 });
  await page.waitForTimeout(150); // the layout follows the window
  const width = await page.evaluate(() => document.documentElement.scrollWidth);
  await page.setViewportSize({ width: 1280, height: 800 });
  check(width <= 320, `${what}: ${width} pixels wide in a window of 320`);
}

/** Runs the flows one after the other; one that fails hinders no other. */
export async function run(flows) {
  browser = await chromium.launch({
    executablePath: world.chromium,
    args: [
      ...(process.getuid() === 0 ? ["--no-sandbox"] : []),
      "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking", "--disable-component-update", "--disable-sync",
    ],
  });
  const only = process.env.CONSOLE_FLOWS;
  try {
    for (const [name, flow] of flows) {
      if (only && !new RegExp(only).test(name)) continue;
      const begun = Date.now();
      let error = "";
      try {
        await flow();
      } catch (e) {
        error = e.stack ?? String(e);
        for (const page of browser.contexts().flatMap((c) => c.pages())) {
          error += `\n${page.url()}\n${await page.locator("body").ariaSnapshot({ timeout: 2000 }).catch(() => "")}`;
        }
      }
      for (const context of browser.contexts()) await context.close();
      error = [error, ...troubles.splice(0)].filter(Boolean).join("\n");
      process.stdout.write(`${JSON.stringify({ Name: name, Milliseconds: Date.now() - begun, Error: error, Notes: notes.splice(0) })}\n`);
    }
  } finally {
    await browser.close();
  }
}

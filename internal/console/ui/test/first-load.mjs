// What the first page costs: from nothing to the table of private CAs.
import { check, note, open, signIn, world } from "./harness.mjs";

const most = 400_000; // bytes, as they are transferred

export default [
  [
    "the first load is small",
    async () => {
      const page = await open();
      await page.addInitScript(() => {
        const table = new MutationObserver(() => {
          if (![...document.querySelectorAll("table")].some((t) => t.textContent.includes("Example Corp Root CA"))) return;
          globalThis.there = performance.now();
          table.disconnect();
        });
        table.observe(document, { subtree: true, childList: true, characterData: true });
      });
      await page.goto("/console/");
      await signIn(page, world.keys.admin);
      await page.waitForFunction(() => globalThis.there);
      // What is loaded ahead for the next page begins when the table is there.
      const { requests, bytes, headers } = await page.evaluate(() => {
        const all = [...performance.getEntriesByType("navigation"), ...performance.getEntriesByType("resource")].filter((e) => e.startTime < globalThis.there);
        const sum = (f) => all.reduce((n, e) => n + f(e), 0);
        return { requests: all.length, bytes: sum((e) => e.encodedBodySize), headers: sum((e) => Math.max(0, e.transferSize - e.encodedBodySize)) };
      });
      note(`until the table is there: ${requests} requests, ${bytes} bytes, and ${headers} bytes of headers`);
      check(bytes < most, `${bytes} bytes are loaded until the table is there; at most ${most}`);
    },
  ],
];

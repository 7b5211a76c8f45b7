// What the first page costs: from nothing to the table of private CAs.
import { check, note, open, signIn, world } from "./harness.mjs";

const most = 400_000; // bytes, as they are transferred

export default [
  [
    "the first load is small",
    async () => {
      const page = await open();
      const network = await page.context().newCDPSession(page);
      await network.send("Network.enable");
      const urls = new Map();
      let bytes = 0;
      network.on("Network.responseReceived", (e) => urls.set(e.requestId, e.response.url));
      network.on("Network.loadingFinished", (e) => {
        bytes += e.encodedDataLength;
        note(`${e.encodedDataLength} ${urls.get(e.requestId)}`);
      });
      await page.goto("/console/");
      await signIn(page, world.keys.admin);
      await page.getByRole("table", { name: "Private CAs" }).getByText("Example Corp Root CA").waitFor();
      await page.waitForLoadState("networkidle");
      note(`${bytes} bytes in all`);
      check(bytes < most, `${bytes} bytes are loaded until the table is there; at most ${most}`);
    },
  ],
];

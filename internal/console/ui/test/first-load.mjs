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
      let requests = 0;
      let bytes = 0;
      let headers = 0;
      const body = new Map();
      network.on("Network.dataReceived", (e) => body.set(e.requestId, (body.get(e.requestId) ?? 0) + e.encodedDataLength));
      const urls = new Map();
      network.on("Network.responseReceived", (e) => urls.set(e.requestId, e.response.url));
      network.on("Network.loadingFinished", (e) => {
        requests++;
        note(`${body.get(e.requestId) ?? 0} ${urls.get(e.requestId)}`);
        bytes += body.get(e.requestId) ?? 0;
        headers += e.encodedDataLength - (body.get(e.requestId) ?? 0);
      });
      await page.goto("/console/");
      await signIn(page, world.keys.admin);
      await page.getByRole("table", { name: "Private CAs" }).getByText("Example Corp Root CA").waitFor();
      note(`until the table is there: ${requests} requests, ${bytes} bytes, and ${headers} bytes of headers`);
      check(bytes < most, `${bytes} bytes are loaded until the table is there; at most ${most}`);
    },
  ],
];

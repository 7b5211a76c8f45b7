import authorities from "./authorities.mjs";
import certificates from "./certificates.mjs";
import firstLoad from "./first-load.mjs";
import { run } from "./harness.mjs";
import pictures from "./pictures.mjs";
import reports from "./reports.mjs";
import session from "./session.mjs";

await run([...firstLoad, ...session, ...authorities, ...certificates, ...reports, ...pictures]);

import certificates from "./certificates.mjs";
import { run } from "./harness.mjs";
import reports from "./reports.mjs";
import session from "./session.mjs";

await run([...session, ...certificates, ...reports]);

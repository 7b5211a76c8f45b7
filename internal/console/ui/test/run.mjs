import { run } from "./harness.mjs";
import session from "./session.mjs";

await run([...session]);

import type { Authority } from "../api";

/** What every tab of a CA's page is given; reload reads the CA anew after a change. */
export type TabProps = { details: Authority; reload(): void };

import { accountOf, idOf } from "./text";

/** Where things are; all below /console, which the router knows. */
export const at = {
  signIn: "/sign-in",
  authorities: "/authorities",
  create: "/authorities/create",
  templates: "/templates",
  authority: (arn: string, tab = "") => `/authorities/${accountOf(arn)}/${idOf(arn)}${tab ? `?tab=${tab}` : ""}`,
  install: (arn: string) => `${at.authority(arn)}/install`,
  generate: (arn: string) => `${at.authority(arn)}/audit-report`,
  report: (arn: string, report: string) => `${at.authority(arn)}/reports/${report}`,
  certificate: (arn: string, serial: string) => `${at.authority(arn)}/certificates/${serial.replaceAll(":", "")}`,
};

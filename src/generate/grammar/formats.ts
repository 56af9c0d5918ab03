// What strings of a `format` look like: a part of what is valid, so that every one is.

const DAY = "(0[1-9]|1[0-2])-(0[1-9]|1\\d|2[0-8])|(0[13-9]|1[0-2])-(29|30)|(0[13578]|1[02])-31";
const DATE = `[12]\\d{3}-(${DAY})`;
const TIME = "([01]\\d|2[0-3]):[0-5]\\d:[0-5]\\d(\\.\\d{1,6})?(Z|[+\\-]([01]\\d|2[0-3]):[0-5]\\d)";
const BYTE = "(\\d|[1-9]\\d|1\\d\\d|2[0-4]\\d|25[0-5])";
const LABEL = "[a-z0-9]([a-z0-9\\-]{0,10}[a-z0-9])?";

export const FORMATS: ReadonlyMap<string, string> = new Map([
  ["date", DATE],
  ["time", TIME],
  ["date-time", `${DATE}T${TIME}`],
  ["uuid", "[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}"],
  ["ipv4", `${BYTE}(\\.${BYTE}){3}`],
  ["email", `[a-z0-9]([a-z0-9._\\-]{0,18}[a-z0-9])?@${LABEL}(\\.${LABEL}){1,3}`],
]);

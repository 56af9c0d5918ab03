// Which functions one sentence could mean: two of them are never in the same list of tools.

import { words } from "./describe.mjs";

/** Verbs that a sentence cannot tell apart when the thing is the same. */
const ALIKE = [
  ["create", "book"],
  ["delete", "cancel", "archive", "lock"],
  ["get", "track", "export", "subscribe_to"],
  ["update", "rename", "reschedule", "assign", "set_priority", "comment_on", "rate", "lock", "unlock"],
  ["list", "count", "get", "compare"],
  ["send", "export", "assign"],
  ["assign", "rate", "set_priority"],
  ["delete", "unlock"],
  ["cancel", "reject", "reschedule", "lock"],
];
const first = (verb) => verb.names.split(" ")[0];

/** Whether one sentence could mean either. */
export function alike(a, b) {
  if (a === b) return true;
  if (a.kind === "thing" && b.kind === "thing") {
    if (a.thing !== b.thing && !a.thing.others.some((noun) => b.thing.others.includes(noun))) return false;
    const [x, y] = [first(a.verb), first(b.verb)];
    return x === y || ALIKE.some((group) => group.includes(x) && group.includes(y));
  }
  if (a.kind === "lookup" && b.kind === "lookup")
    return (
      a.lookup.others.some((word) => b.lookup.others.includes(word)) ||
      (a.lookup.kind === b.lookup.kind && a.lookup.attribute === b.lookup.attribute)
    );
  if (a.kind === "formula" && b.kind === "formula") return a.formula.result === b.formula.result;
  if (a.kind === "action" && b.kind === "action" && !a.more && !b.more)
    return a.action.descriptions[0] === b.action.descriptions[0];
  // Of different kinds: their words must not meet.
  const [x, y] = [vocabulary(a), vocabulary(b)];
  for (const word of x) if (y.has(word)) return true;
  return false;
}

const vocabularies = new Map();
const STOP = new Set(
  "a an the of to and in on for get find show create add number name is what how with set my me all price".split(
    " ",
  ),
);
function vocabulary(family) {
  let set = vocabularies.get(family);
  if (!set) {
    const text = {
      thing: () => family.thing.others.join(" "),
      action: () => [...family.action.names, ...family.action.descriptions].join(" "),
      formula: () => family.formula.result,
      lookup: () => family.lookup.others.join(" "),
    }[family.kind]();
    set = new Set(
      words(text.replaceAll("_", " "))
        .flatMap((word) => [word, word.replace(/s$/, "")])
        .filter((word) => !STOP.has(word)),
    );
    vocabularies.set(family, set);
  }
  return set;
}

/** Functions of their own kind that words without values could mean either of. */
const GROUPS = [
  "play_music play_artist play_genre watch_movie start_game",
  "get_weather weather_by_coordinates snow_report",
  "turn_on start_machine start_vacuum",
  "turn_off stop_machine pause_playback",
  "set_timer set_alarm add_reminder medication_reminder",
  "send_message send_email post_update make_call",
  "web_search find_files product_search news_search paper_search explain_topic list_files",
  "nearby_places find_restaurants find_hotels find_parking geocode",
  "get_directions distance_between geocode order_taxi",
  "transfer_money pay_bill split_bill",
  "buy_stock reorder_stock sell_stock",
  "find_events check_calendar team_schedule news_search",
  "predict_price stock_history product_search sculpture_price",
  "local_time convert_time_zone",
  "set_temperature set_volume dim_lights open_blinds",
  "convert_currency convert_units convert_file convert_time_zone",
].map((line) => line.split(" "));
const MONEY = /price|cost|worth|value|wage|salary|tax/;
const phrasesOf = (family) =>
  family.kind === "thing"
    ? family.thing.others
    : family.kind === "lookup"
      ? family.lookup.others
      : family.kind === "formula"
        ? [family.formula.result]
        : [...family.action.names, ...family.action.heads];
const within = (a, b) => words(a).every((word) => words(b).includes(word));

/** Whether one sentence could mean either when it leaves arguments out. */
export function confusable(a, b) {
  if (alike(a, b)) return true;
  const [x, y] = [phrasesOf(a), phrasesOf(b)];
  const meet = () => x.some((one) => y.some((other) => within(one, other) || within(other, one)));
  if (a.kind === "thing" && b.kind === "thing") {
    const [v, w] = [first(a.verb), first(b.verb)];
    const both = (group) => group.includes(v) && group.includes(w);
    return (v === w || ALIKE.some(both) || both(["get", "create", "book"])) && meet();
  }
  if (a.kind === "action" && b.kind === "action")
    return GROUPS.some((group) => group.includes(a.action.names[0]) && group.includes(b.action.names[0]));
  if ([a, b].some(({ action }) => action?.names[0] === "web_search")) return true;
  if (a.kind !== "thing" && b.kind !== "thing")
    return (
      (MONEY.test(x.join(" ")) && MONEY.test(y.join(" "))) ||
      (a.kind !== "action" && b.kind !== "action" && meet())
    );
  return false;
}

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
  if (a.kind === "action" && b.kind === "action")
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

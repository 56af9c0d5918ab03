// CLINC150 (CC BY 3.0) as function calls: 150 intents are functions without arguments; what is out of scope is refused.
// Reads the published layout of data_full.json: { "train", "val", "test", "oos_train", "oos_val", "oos_test" }, lists of
// [sentence, intent]; parts may be missing.

import { readFileSync } from "node:fs";
import { join } from "node:path";
import { expand, readPhrases } from "./grammar.mjs";

export const CLINC = "@clinc150";

function readClinc(path) {
  const data = JSON.parse(readFileSync(path, "utf8"));
  const part = (name) => data[name] ?? [];
  return {
    train: [...part("train"), ...part("oos_train")],
    val: [...part("val"), ...part("oos_val")],
    test: [...part("test"), ...part("oos_test")],
  };
}

/** Sentences to train on, and to test with: the part "test" of the test file or else of the file, or "val" where it has none. */
export function clincParts(path, testPath) {
  const own = readClinc(path);
  const { test, val } = testPath ? readClinc(testPath) : own;
  return { train: own.train, val: own.val, test: test.length > 0 ? test : val };
}

/** A turn: the sentence and its call. */
export function clincTurn([text, intent]) {
  return { text, answer: intent === "oos" ? [] : [{ name: intent, arguments: {} }] };
}

/** Tools of the intents, described by their words. */
export function clincTools(rows) {
  const names = [...new Set(rows.map(([, intent]) => intent))].filter((name) => name !== "oos").sort();
  return new Map(
    names.map((name) => [
      name,
      {
        name,
        description: name.replaceAll("_", " "),
        parameters: { type: "object", properties: {}, required: [] },
      },
    ]),
  );
}

const DROPPED = new Set(["the", "a", "please", "can", "you"]);

/** A light edit: a word that says little left out, a typo, or a beginning. */
export function varyClinc([text, intent], chance) {
  const words = text.split(" ");
  const kind = chance.int(0, 3);
  if (kind === 0) {
    const at = words.findIndex((word) => DROPPED.has(word));
    if (at >= 0) words.splice(at, 1);
  } else if (kind === 1) {
    words.unshift(chance.pick(["please", "hey", "so", "ok", "hi,", "quick question,", "um", "tell me,"]));
  } else {
    const at = chance.int(0, words.length - 1);
    const word = words[at];
    if (word.length > 3) {
      const i = chance.int(1, word.length - 2);
      words[at] =
        kind === 2
          ? word.slice(0, i) + word.slice(i + 1)
          : word.slice(0, i) + word[i + 1] + word[i] + word.slice(i + 2);
    }
  }
  return [words.join(" "), intent];
}

/** Sentences by their intent. */
export function clincByIntent(rows) {
  const all = new Map();
  for (const [text, intent] of rows) all.set(intent, [...(all.get(intent) ?? []), text]);
  return all;
}

/** A heavy edit: crossed with another sentence of the same intent, or behind it; then up to three light ones, words lost. */
export function mixClinc([text, intent], byIntent, chance) {
  let mixed = text;
  const other = chance.pick(byIntent.get(intent));
  const kind = intent === "oos" ? 1 : chance.next();
  if (kind < 0.2) {
    const [a, b] = [text.split(" "), other.split(" ")];
    mixed = [...a.slice(0, Math.ceil(a.length / 2)), ...b.slice(Math.floor(b.length / 2))].join(" ");
  } else if (kind < 0.3) mixed = `${text} ${other}`;
  for (let i = chance.int(0, 3); i > 0; i--) [mixed] = varyClinc([mixed, intent], chance);
  const lost = chance.hit(0.5) ? 0.1 : 0;
  const words = mixed.split(" ").filter(() => !chance.hit(lost));
  return [words.length > 2 ? words.join(" ") : mixed, intent];
}

/**
 * Rows of phrases/, sentences of our own for every intent and for what is out of scope.
 * @param share how many different ones an intent has; of oos as a number of its own
 */
export function clincPhrases(share, oos, chance) {
  const { patterns, lists } = readPhrases(join(import.meta.dirname, "phrases"));
  return [...patterns].flatMap(([intent, from]) => {
    const wanted = intent === "oos" ? oos : share;
    const texts = new Set();
    // Every pattern in turn: one that says little does not come more often than one that says much.
    for (let i = 0; texts.size < wanted && i < wanted * 4; i++)
      texts.add(expand(from[i % from.length], lists, chance));
    return [...texts].map((text) => [text, intent]);
  });
}

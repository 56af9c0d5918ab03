// What words alone tell of an intent: multinomial logistic regression over words and pairs of words, trained by
// stochastic gradient descent, on SNIPS and CLINC150. The figures to set the caller's beside. Seeded.
//
// node models/caller/baseline.mjs [--snips folder|files] [--snips-test folder|files] [--clinc data_full.json]
//   [--clinc-test data_full.json]
//
// Without test files: SNIPS' 700 utterances that prepare.mjs holds out, CLINC150's part "val" (as prepare.mjs).

import { parseArgs } from "node:util";
import { clincParts, clincPhrases } from "./data/clinc.mjs";
import { Chance } from "./data/random.mjs";
import { snipsParts, snipsTurn } from "./data/snips.mjs";

const { values: args } = parseArgs({
  options: {
    snips: { type: "string", multiple: true },
    "snips-test": { type: "string", multiple: true },
    clinc: { type: "string" },
    "clinc-test": { type: "string" },
  },
});

function features(text) {
  const words = text.toLowerCase().match(/[\p{L}\p{N}']+/gu) ?? [];
  return [...new Set([...words, ...words.slice(1).map((word, i) => `${words[i]} ${word}`)])];
}

/** Rows [text, label] -> a function from a text to [label, probability]. */
function learn(rows, { epochs = 8, rate = 0.5, decay = 1e-5 } = {}) {
  const chance = new Chance(1, "baseline");
  const labels = [...new Set(rows.map(([, label]) => label))].sort();
  const ids = new Map();
  const known = rows.map(([text, label]) => [
    features(text).map((feature) => {
      if (!ids.has(feature)) ids.set(feature, ids.size);
      return ids.get(feature);
    }),
    labels.indexOf(label),
  ]);
  const n = labels.length;
  const weights = new Float32Array(ids.size * n);
  const bias = new Float32Array(n);
  const probabilities = (indices) => {
    const out = Float32Array.from(bias);
    for (const i of indices) for (let l = 0; l < n; l++) out[l] += weights[i * n + l];
    const top = Math.max(...out);
    let sum = 0;
    for (let l = 0; l < n; l++) sum += out[l] = Math.exp(out[l] - top);
    return out.map((x) => x / sum);
  };
  for (let epoch = 0; epoch < epochs; epoch++) {
    const step = rate / (1 + epoch);
    for (const [indices, label] of chance.shuffle(known)) {
      const p = probabilities(indices);
      p[label] -= 1;
      for (let l = 0; l < n; l++) {
        bias[l] -= step * p[l];
        for (const i of indices) weights[i * n + l] -= step * (p[l] + decay * weights[i * n + l]);
      }
    }
  }
  return (text) => {
    const p = probabilities(features(text).flatMap((feature) => ids.get(feature) ?? []));
    const best = p.indexOf(Math.max(...p));
    return [labels[best], p[best]];
  };
}

const percent = (right, all) => `${((100 * right) / all).toFixed(2)} % (${right} of ${all})`;

if (args.snips) {
  const { train, test } = snipsParts(args.snips, args["snips-test"]);
  const row = (utterance) => [snipsTurn(utterance).text, utterance.intent];
  const answer = learn(train.map(row));
  const right = test.map(row).filter(([text, intent]) => answer(text)[0] === intent).length;
  console.log(`SNIPS function right: ${percent(right, test.length)}`);
}

if (args.clinc) {
  const { train, test } = clincParts(args.clinc, args["clinc-test"]);
  const inScope = test.filter(([, intent]) => intent !== "oos");
  const out = test.filter(([, intent]) => intent === "oos");
  const phrases = clincPhrases(300, 6000, new Chance(1, "phrases"));
  for (const [name, rows] of [
    ["", train],
    [", and data/phrases", [...train, ...phrases]],
  ]) {
    const answer = learn(rows);
    // Out of scope is a label of its own, as the caller learns it.
    const right = inScope.filter(([text, intent]) => answer(text)[0] === intent).length;
    const refused = out.filter(([text]) => answer(text)[0] === "oos").length;
    console.log(`CLINC150${name}: in-scope accuracy ${percent(right, inScope.length)}`);
    console.log(`CLINC150${name}: out-of-scope recall ${percent(refused, out.length)}`);
  }
}

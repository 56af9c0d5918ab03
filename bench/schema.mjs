// What a schema costs: tokens a second of the same model with and without one, alternating, the best of some rounds, and
// the quickest tenth of single tokens, which other work on the machine touches least; and with --valid n, that n answers at temperature 1 and above satisfy their schemas (ajv decides).
//
//   npx tsc -p tsconfig.build.json
//   node bench/schema.mjs [model ...] [--rounds 5] [--tokens 128] [--valid 500]
//
// Default models: the 135M and 0.5B files of bench/models.mjs, as far as they are there.
import { existsSync } from "node:fs";
import { parseArgs } from "node:util";
import { Ajv2020 } from "ajv/dist/2020.js";
import { loadModel } from "../dist/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    rounds: { type: "string", default: "5" },
    tokens: { type: "string", default: "128" },
    valid: { type: "string", default: "0" },
  },
});
const known = ["135m", "0.5b"]
  .map((name) => `.cache/bench/${name}-q4_0.gguf`)
  .filter((file) => existsSync(file));
const models = positionals.length > 0 ? positionals : known;

/** Long enough for every round: strings of any length in an array without end. */
const long = {
  type: "object",
  properties: {
    title: { type: "string" },
    items: {
      type: "array",
      minItems: 1000,
      items: {
        type: "object",
        properties: {
          id: { type: "integer" },
          text: { type: "string" },
          tags: { type: "array", items: { enum: ["a", "b", "c"] } },
        },
        required: ["id", "text", "tags"],
      },
    },
  },
  required: ["title", "items"],
};
/** @type {Record<string, any>[]} */
const varied = [
  {
    type: "object",
    properties: {
      name: { type: "string", maxLength: 20 },
      age: { type: "integer", minimum: 0, maximum: 120 },
    },
    required: ["name", "age"],
  },
  { type: "array", items: { enum: ["red", "green", "blue", 1, null] }, minItems: 1, maxItems: 5 },
  {
    type: "object",
    properties: {
      date: { type: "string", format: "date" },
      n: { type: "number", minimum: -3, exclusiveMaximum: 4.5 },
    },
    required: ["date", "n"],
    additionalProperties: false,
  },
  {
    anyOf: [
      { type: "string", pattern: "^[A-Z]{2}-\\d{3}$" },
      { type: "object", properties: { yes: { type: "boolean" } } },
    ],
  },
  {
    $ref: "#/$defs/tree",
    $defs: {
      tree: {
        type: "object",
        properties: {
          value: { type: "integer" },
          left: { anyOf: [{ type: "null" }, { $ref: "#/$defs/tree" }] },
        },
        required: ["value", "left"],
      },
    },
  },
  {
    type: "object",
    properties: {
      a: { type: ["string", "null"], maxLength: 8 },
      b: { type: "boolean" },
      c: {
        type: "array",
        prefixItems: [{ type: "integer" }, { type: "string", maxLength: 4 }],
        items: false,
        minItems: 2,
      },
    },
    required: ["c"],
  },
];

for (const file of models) {
  const model = await loadModel(file, { cacheTokens: 8192 });
  try {
    const tokens = Number(values.tokens);
    // Forbidding the end keeps the text going where there is no schema; a schema's mask allows it only at its end.
    const free = Object.fromEntries([...model.eosIds].map((id) => [id, -Infinity]));
    const speed = async (schema, times) => {
      const options = { maxTokens: tokens, temperature: 1, ...(schema ? { schema } : { logitBias: free }) };
      const answer = model.generate("Once upon a time", { ...options, seed: 1 });
      let last = Number.NaN;
      for await (const part of answer) {
        const now = performance.now();
        if (part.ids.length === 1 && now - last > 0) times.push(now - last);
        last = now;
      }
      const { stats, ids } = await answer;
      if (ids.length < tokens) throw new Error(`Cannot measure: ${ids.length} tokens, wanted ${tokens}`);
      return stats.tokensPerSecond;
    };
    const began = performance.now();
    await speed(long, []);
    const first = performance.now() - began;
    let [plain, constrained] = [0, 0];
    const [single, singleConstrained] = [[], []];
    for (let round = 0; round < Number(values.rounds); round++) {
      plain = Math.max(plain, await speed(undefined, single));
      constrained = Math.max(constrained, await speed(long, singleConstrained));
    }
    const cost = (plain / constrained - 1) * 100;
    const [quick, quickConstrained] = [single, singleConstrained].map(
      (times) => times.sort((a, b) => a - b)[Math.floor(times.length / 10)],
    );
    console.log(
      `${file}: vocabulary ${model.config.vocab_size}, ${plain.toFixed(1)} tokens/s, with a schema ${constrained.toFixed(1)} (${cost.toFixed(1)} % a token), a quick token ${quick.toFixed(3)} ms and ${quickConstrained.toFixed(3)} (${((quickConstrained / quick - 1) * 100).toFixed(1)} %), first answer of ${tokens} tokens in ${first.toFixed(0)} ms`,
    );
    if (Number(values.valid) > 0) await check(model, Number(values.valid));
  } finally {
    await model.close();
  }
}

async function check(model, count) {
  const validators = varied.map((schema) =>
    new Ajv2020({ strict: false, formats: { date: /^\d{4}-\d\d-\d\d$/ } }).compile(schema),
  );
  let [valid, incomplete] = [0, 0];
  for (let from = 0; from < count; from += 8) {
    const seeds = Array.from({ length: Math.min(8, count - from) }, (_, i) => from + i);
    const answers = await Promise.all(
      seeds.map((seed) =>
        model.generate("Answer:", {
          schema: varied[seed % varied.length],
          seed,
          maxTokens: 512,
          temperature: 1 + (seed % 3) / 2,
          topK: 0,
          topP: 1,
          minP: 0,
        }),
      ),
    );
    answers.forEach(({ parsed, text }, i) => {
      if (parsed === undefined) {
        incomplete++;
        console.log(`  not complete: ${text.slice(0, 100)}`);
      } else if (validators[seeds[i] % varied.length](parsed)) valid++;
      else console.log(`  invalid: ${text}`);
    });
  }
  console.log(`  ${valid} of ${count} valid, ${incomplete} not complete`);
}

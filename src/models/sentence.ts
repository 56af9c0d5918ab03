// What makes sentence vectors of an encoder's hidden states, as sentence-transformers' files say it (modules.json and
// what it names) or a GGUF file's pooling_type. All of it is untrusted.

import { join } from "node:path";
import type { GgufFile } from "../formats/index.ts";
import { type Fields, fieldsOf, parseFields, show } from "./fields.ts";

/**
 * How a sequence's hidden states become one vector. `mean_sqrt_len`: their sum over the root of their number;
 * `weightedmean`: the t-th of them weighs t + 1.
 */
export type Pooling = "cls" | "max" | "mean" | "mean_sqrt_len" | "weightedmean" | "lasttoken";

/** From vectors of tokens to vectors of texts. */
export interface SentenceConfig {
  /** Several are put side by side, in this order. */
  readonly pooling: readonly Pooling[];
  /** Vectors are made of length 1. */
  readonly normalize: boolean;
  /** Tokens of a prompt count in the pooling. */
  readonly include_prompt: boolean;
  /** What is put before a text, by name. */
  readonly prompts: Readonly<Record<string, string>>;
  readonly default_prompt_name?: string;
  /** Longest text in tokens, where that is less than the model's own longest. */
  readonly max_seq_length?: number;
  /** Texts are lowered before the tokenizer sees them. */
  readonly do_lower_case: boolean;
}

/** As sentence-transformers takes a folder without modules.json. */
export const MEAN: SentenceConfig = {
  pooling: ["mean"],
  normalize: false,
  include_prompt: true,
  prompts: {},
  do_lower_case: false,
};

/** The fields of 1_Pooling/config.json, in the order of their parts in the vector. */
const MODES: readonly (readonly [field: string, pooling: Pooling])[] = [
  ["pooling_mode_cls_token", "cls"],
  ["pooling_mode_max_tokens", "max"],
  ["pooling_mode_mean_tokens", "mean"],
  ["pooling_mode_mean_sqrt_len_tokens", "mean_sqrt_len"],
  ["pooling_mode_weightedmean_tokens", "weightedmean"],
  ["pooling_mode_lasttoken", "lasttoken"],
];

/**
 * @param read gives the text of a file in the folder, or undefined where there is none
 * @returns undefined without modules.json
 * @throws {SyntaxError | TypeError | RangeError} also for a module that is not implemented.
 */
export async function readSentenceConfig(
  folder: string,
  read: (name: string) => Promise<string | undefined>,
): Promise<SentenceConfig | undefined> {
  const list = await read("modules.json");
  if (list === undefined) return undefined;
  const modules = parseModules(join(folder, "modules.json"), list);
  const fieldsIn = async (name: string) => {
    const text = await read(name);
    return text === undefined ? fieldsOf(join(folder, name), {}) : parseFields(join(folder, name), text);
  };
  const main = await fieldsIn("config_sentence_transformers.json");
  const transformer = await fieldsIn("sentence_bert_config.json");
  let pooling: readonly Pooling[] = MEAN.pooling;
  let include_prompt = true;
  for (const { kind, path } of modules)
    if (kind === "Pooling") {
      const fields = await fieldsIn(join(path, "config.json"));
      pooling = readPooling(fields);
      include_prompt = fields.boolean("include_prompt", true);
    }
  const prompts = readPrompts(main);
  const default_prompt_name = main.has("default_prompt_name")
    ? main.string("default_prompt_name")
    : undefined;
  if (default_prompt_name !== undefined && !Object.hasOwn(prompts, default_prompt_name))
    main.fail("default_prompt_name", default_prompt_name, `one of ${Object.keys(prompts).join(", ")}`);
  return {
    pooling,
    normalize: modules.some(({ kind }) => kind === "Normalize"),
    include_prompt,
    prompts,
    ...(default_prompt_name !== undefined && { default_prompt_name }),
    ...(transformer.has("max_seq_length") && {
      max_seq_length: transformer.integer("max_seq_length", { min: 1, max: 2 ** 28 }),
    }),
    do_lower_case: transformer.boolean("do_lower_case", false),
  };
}

function parseModules(file: string, text: string): { kind: string; path: string }[] {
  const fail = (found: string, wanted: string): never => {
    throw new TypeError(`Cannot read ${JSON.stringify(file)}: found ${found}, wanted ${wanted}`);
  };
  let list: unknown;
  try {
    list = JSON.parse(text);
  } catch (cause) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(file)}: ${(cause as Error).message}`, { cause });
  }
  if (!Array.isArray(list) || list.length > 16) return fail(show(list), "a list of at most 16 modules");
  return list.map((entry: unknown, i) => {
    if (typeof entry !== "object" || entry === null) return fail(`${show(entry)} at ${i}`, "an object");
    const fields = fieldsOf(file, entry as Record<string, unknown>, `[${i}].`);
    const type = fields.string("type");
    const path = fields.string("path", "");
    const kind = type.slice(type.lastIndexOf(".") + 1);
    const known = i === 0 ? ["Transformer"] : ["Pooling", "Normalize"];
    if (!known.includes(kind)) fields.fail("type", type, `${known.join(" or ")}: others are not implemented`);
    if (!/^[\w.-]*\/?$/.test(path) || path.startsWith("..")) fields.fail("path", path, "a folder beside it");
    return { kind, path };
  });
}

function readPooling(fields: Fields): Pooling[] {
  if (fields.has("pooling_mode")) {
    const mode = fields.string("pooling_mode");
    const known = MODES.find(([, pooling]) => pooling === mode);
    if (!known) return fields.fail("pooling_mode", mode, `one of ${MODES.map(([, p]) => p).join(", ")}`);
    return [known[1]];
  }
  const all = MODES.filter(([field]) => fields.boolean(field, false)).map(([, pooling]) => pooling);
  return all.length > 0 ? all : [...MEAN.pooling];
}

function readPrompts(main: Fields): Record<string, string> {
  const found = main.value("prompts");
  if (found === undefined) return {};
  if (typeof found !== "object" || found === null || Array.isArray(found))
    main.fail("prompts", found, "an object");
  const prompts: Record<string, string> = Object.create(null);
  for (const [name, text] of Object.entries(found as object)) {
    if (typeof text !== "string") main.fail(`prompts.${name}`, text, "a string");
    prompts[name] = text;
  }
  return { ...prompts };
}

/** The files that `readSentenceConfig` reads, by name, for writing. @param dimension hidden_size */
export function sentenceFiles(config: SentenceConfig, dimension: number): Map<string, object> {
  const module = (idx: number, path: string, kind: string) => ({
    idx,
    name: String(idx),
    path,
    type: `sentence_transformers.models.${kind}`,
  });
  const { pooling, include_prompt, prompts, default_prompt_name = null, max_seq_length = null } = config;
  return new Map<string, object>([
    [
      "modules.json",
      [
        module(0, "", "Transformer"),
        module(1, "1_Pooling", "Pooling"),
        ...(config.normalize ? [module(2, "2_Normalize", "Normalize")] : []),
      ],
    ],
    [
      join("1_Pooling", "config.json"),
      {
        word_embedding_dimension: dimension,
        ...Object.fromEntries(MODES.map(([field, kind]) => [field, pooling.includes(kind)])),
        include_prompt,
      },
    ],
    ["config_sentence_transformers.json", { prompts, default_prompt_name, similarity_fn_name: "cosine" }],
    ["sentence_bert_config.json", { max_seq_length, do_lower_case: config.do_lower_case }],
  ]);
}

/** GGUF's numbers of `pooling_type`. */
const TYPES: Readonly<Record<number, Pooling>> = { 1: "mean", 2: "cls", 3: "lasttoken" };

/** What a GGUF file says; vectors have length 1, as llama.cpp makes them. */
export function sentenceFromGguf(gguf: GgufFile, architecture: string): SentenceConfig {
  const key = `${architecture}.pooling_type`;
  const { value = 1 } = gguf.metadata.get(key) ?? {};
  const pooling = typeof value === "number" ? TYPES[value || 1] : undefined;
  if (!pooling)
    throw new RangeError(
      `Cannot read ${JSON.stringify(gguf.name)}: ${key} is ${show(value)}, wanted 0 (none), 1 (mean), 2 (cls) or 3 (last)`,
    );
  return { ...MEAN, pooling: [pooling], normalize: true };
}

/** The number of `pooling_type`, or undefined where GGUF has none for it. */
export function poolingType({ pooling }: SentenceConfig): number | undefined {
  const found = Object.entries(TYPES).find(([, kind]) => pooling.length === 1 && kind === pooling[0]);
  return found && Number(found[0]);
}

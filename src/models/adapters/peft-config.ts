// adapter_config.json of a PEFT folder: which LoRA it describes. Untrusted: every field has a range, and what would
// change the arithmetic in a way that is not implemented is refused, never passed over.

import { type Fields, parseFields } from "../fields.ts";
import { compilePattern, type Matcher } from "./regex.ts";

/** The fields of adapter_config.json that decide what is computed. */
export interface PeftConfig {
  /** Rank, where `rank_pattern` says nothing else. */
  readonly r: number;
  readonly lora_alpha: number;
  /** The factor is alpha / √r instead of alpha / r. */
  readonly use_rslora: boolean;
  readonly use_dora: boolean;
  readonly base_model_name_or_path: string | undefined;
  /** Modules whose whole weights are in the file. */
  readonly modules_to_save: readonly string[];
  /** An embedding that was saved is the output head too, where these are tied. */
  readonly ensure_weight_tying: boolean;
  /** Rank and alpha of a module, from the patterns. */
  rankOf(path: string): number;
  alphaOf(path: string): number;
  /** Whether the config names a module. @param isHead it is the output head, which "all-linear" leaves out */
  targets(path: string, isHead: boolean): boolean;
}

const RANK = { min: 1, max: 2 ** 16 };
const ALPHA = { min: -1e9, max: 1e9 };
const MAX_NAMES = 100_000;
const MAX_REGEX_KEYS = 256;

/** Fields that tell how the adapter was made, not what it is. */
const IRRELEVANT = new Set(
  "task_type auto_mapping peft_version revision inference_mode lora_dropout fan_in_fan_out megatron_config megatron_core loftq_config eva_config corda_config lora_ga_config lora_ga qalora_group_size velora_config runtime_config ephemeral_gpu_offload".split(
    " ",
  ),
);
const USED = new Set(
  "peft_type r lora_alpha use_rslora use_dora base_model_name_or_path modules_to_save ensure_weight_tying rank_pattern alpha_pattern target_modules exclude_modules layers_to_transform layers_pattern bias init_lora_weights".split(
    " ",
  ),
);
/** Ways to begin training that leave the base as it is. The others (PiSSA, OLoRA, ...) change it. */
const INITS_OF_SAME_BASE = ["gaussian", "eva", "orthogonal"];

/**
 * Reads the text of an adapter_config.json.
 * @throws {SyntaxError | TypeError | RangeError} naming the field, the value found and the value wanted
 */
export function parsePeftConfig(file: string, text: string): PeftConfig {
  const fields = parseFields(file, text);
  const type = fields.string("peft_type");
  if (type !== "LORA") fields.fail("peft_type", type, `"LORA"`);
  refuseWhatIsNotKnown(fields, Object.keys(JSON.parse(text.replace(/^\ufeff/, "")) as object));
  const r = fields.integer("r", RANK, 8);
  const lora_alpha = fields.number("lora_alpha", ALPHA, 8);
  const ranks = patternTable(fields, "rank_pattern", (f, key) => f.integer(key, RANK));
  const alphas = patternTable(fields, "alpha_pattern", (f, key) => f.number(key, ALPHA));
  const modules_to_save = names(fields, "modules_to_save");
  return {
    r,
    lora_alpha,
    use_rslora: fields.boolean("use_rslora", false),
    use_dora: fields.boolean("use_dora", false),
    base_model_name_or_path: fields.has("base_model_name_or_path")
      ? fields.string("base_model_name_or_path") || undefined
      : undefined,
    modules_to_save,
    ensure_weight_tying: fields.boolean("ensure_weight_tying", false),
    rankOf: (path) => ranks(path) ?? r,
    alphaOf: (path) => alphas(path) ?? lora_alpha,
    targets: targetTest(fields, modules_to_save),
  };
}

function refuseWhatIsNotKnown(fields: Fields, keys: readonly string[]): void {
  const bias = fields.string("bias", "none");
  if (!["none", "all", "lora_only"].includes(bias)) fields.fail("bias", bias, `"none", "all" or "lora_only"`);
  const init = fields.value("init_lora_weights");
  if (typeof init === "string" && !INITS_OF_SAME_BASE.includes(init))
    fields.fail(
      "init_lora_weights",
      init,
      "one that leaves the base as it is; save the adapter with path_initial_model_for_weight_conversion",
    );
  for (const key of keys) {
    if (IRRELEVANT.has(key) || USED.has(key) || isEmpty(fields.value(key))) continue;
    fields.fail(key.slice(0, 60), fields.value(key), "nothing: it is not implemented");
  }
}

function isEmpty(value: unknown): boolean {
  if (value === undefined || value === false) return true;
  return typeof value === "object" && Object.keys(value as object).length === 0;
}

/** A list of names, or one; `[]` when absent. */
function names(fields: Fields, name: string): string[] {
  const value = fields.value(name);
  if (value === undefined) return [];
  const list: unknown[] = Array.isArray(value) ? value : [value];
  if (list.length > MAX_NAMES) fields.fail(name, list, `at most ${MAX_NAMES} names`);
  for (const item of list) if (typeof item !== "string") fields.fail(name, item, "names");
  return list as string[];
}

const isPlain = (key: string) => /^\^?[\w.]*$/.test(key);

/** A table of PEFT's patterns: a key is a regular expression that the path or its end, from a dot on, must match. */
function patternTable(
  fields: Fields,
  name: string,
  read: (fields: Fields, key: string) => number,
): (path: string) => number | undefined {
  const table = fields.object(name);
  if (!table) return () => undefined;
  const keys = Object.keys(fields.value(name) as object);
  if (keys.length > MAX_NAMES) fields.fail(name, `${keys.length} patterns`, `at most ${MAX_NAMES}`);
  if (keys.filter((key) => !isPlain(key)).length > MAX_REGEX_KEYS)
    fields.fail(name, `${keys.length} patterns`, `at most ${MAX_REGEX_KEYS} that are not plain names`);
  const where = `Cannot read ${JSON.stringify(fields.file)}: ${name}`;
  const entries = keys.map((key) => {
    if (key.length > 1000) fields.fail(`${name}.${key.slice(0, 60)}`, `${key.length} characters`, "1000");
    const value = read(table, key);
    const matcher = isPlain(key) ? undefined : compilePattern(`(.*\\.)?(${key})`, where);
    return {
      test: matcher ? (path: string) => matcher.full(path) : (path: string) => endsIn(path, key),
      value,
    };
  });
  return (path) => entries.find(({ test }) => test(path))?.value;
}

/** `(.*\.)?key` of a key without signs but dots, which match any character, and a ^ before it. */
function endsIn(path: string, pattern: string): boolean {
  const key = pattern.replace("^", "");
  const start = path.length - key.length;
  if (start > 0 && key !== pattern) return false;
  if (start < 0 || (start > 0 && path[start - 1] !== ".")) return false;
  for (let i = 0; i < key.length; i++) if (key[i] !== "." && key[i] !== path[start + i]) return false;
  return true;
}

const isNamed = (list: ReadonlySet<string>, path: string) => {
  if (list.has(path)) return true;
  for (let dot = path.indexOf("."); dot >= 0; dot = path.indexOf(".", dot + 1))
    if (list.has(path.slice(dot + 1))) return true;
  return false;
};

/**
 * PEFT's rule of which modules a `target_modules` names: "all-linear" means every linear but the head, another string is
 * a regular expression of the whole path, a list has paths or their ends.
 * @param where what errors call it
 */
export function moduleTest(
  targets: string | readonly string[],
  where: string,
): (path: string, isHead: boolean) => boolean {
  if (typeof targets === "string") {
    if (targets.toLowerCase() === "all-linear") return (_path, isHead) => !isHead;
    const matcher: Matcher = compilePattern(targets, where);
    return (path) => matcher.full(path);
  }
  const list = new Set(targets);
  return (path) => isNamed(list, path);
}

/** PEFT's rule of which modules get a LoRA. */
function targetTest(fields: Fields, saved: readonly string[]): PeftConfig["targets"] {
  const where = (name: string) => `Cannot read ${JSON.stringify(fields.file)}: ${name}`;
  const all = fields.value("target_modules");
  const isList = typeof all !== "string";
  const included = moduleTest(isList ? names(fields, "target_modules") : all, where("target_modules"));
  const out = fields.value("exclude_modules");
  const excluded =
    typeof out === "string"
      ? compilePattern(out, where("exclude_modules")).full
      : moduleTest(names(fields, "exclude_modules"), where("exclude_modules"));
  const inLayers = layerTest(fields, where("layers_pattern"));
  if (saved.length > MAX_REGEX_KEYS) fields.fail("modules_to_save", saved, `at most ${MAX_REGEX_KEYS} names`);
  const wholes = saved.map((name) =>
    compilePattern(`(|.*\\.)${isPlain(name) ? name : `(${name})`}(|\\..*)`, where("modules_to_save")),
  );
  return (path, isHead) =>
    !excluded(path, isHead) &&
    !wholes.some((whole) => whole.full(path)) &&
    included(path, isHead) &&
    (!isList || inLayers(path));
}

function layerTest(fields: Fields, where: string): (path: string) => boolean {
  const layers = new Set(fields.integers("layers_to_transform", { min: 0, max: 2 ** 20 }, MAX_NAMES));
  if (layers.size === 0) return () => true;
  const patterns = names(fields, "layers_pattern").filter((name) => name !== "");
  if (patterns.length > MAX_REGEX_KEYS) fields.fail("layers_pattern", patterns, `at most ${MAX_REGEX_KEYS}`);
  const matchers = patterns.map((name) => compilePattern(`(|.*\\.)(${name})`, where));
  return (path) => {
    // The first number after the name of the list of layers, e.g. 3 of model.layers.3.mlp.
    const parts = path.split(".");
    for (let i = 1; i < parts.length - 1; i++) {
      if (!/^\d+$/.test(parts[i]!)) continue;
      const before = parts.slice(0, i).join(".");
      if (matchers.length === 0 ? i >= 2 : matchers.some((m) => m.full(before)))
        return layers.has(Number(parts[i]));
    }
    return false;
  };
}

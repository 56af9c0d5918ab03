// Options that several verbs share, and how their values are read.

import { readFileSync } from "node:fs";
import { type Command, InvalidArgumentError, Option } from "commander";
import type { KvType } from "../engine/backend.ts";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { JsonSchema } from "../generate/grammar/index.ts";
import type { LoadModelOptions } from "../generate/load.ts";
import type { ChatOptions, GenerateOptions } from "../generate/model.ts";
import type { LoadType } from "../models/quantized.ts";

export interface ModelOptions {
  threads?: number;
  backend?: "native" | "wasm" | "reference";
  ctx?: number;
  kv?: KvType;
  quantize?: LoadType;
}

export interface TextOptions extends ModelOptions {
  maxTokens?: number;
  temperature?: number;
  topK?: number;
  topP?: number;
  minP?: number;
  seed?: number | bigint;
  stop?: string[];
  system?: string;
  raw?: boolean;
  think?: boolean;
  schema?: JsonSchema;
  session?: string;
  adapter?: string[];
  /** What `adapter` names, attached. */
  attached?: AdapterChoice | undefined;
}

export function addModelOptions(
  command: Command,
  ctx = "most tokens of a prompt and its answer (default: the model's, at most 4096)",
): Command {
  return command
    .option(
      "--threads <n>",
      "threads to compute with (default: PITH_THREADS, else the usable cores)",
      count(1),
    )
    .addOption(
      choice("--backend <name>", "native, wasm or reference (default: PITH_BACKEND, else native)", [
        "native",
        "wasm",
        "reference",
      ]),
    )
    .option("--ctx <tokens>", ctx, count(1))
    .addOption(
      choice("--quantize <type>", "round float weights to this type while they are loaded", [
        "q8_0",
        "q4_0",
        "nf4",
      ]),
    )
    .addOption(choice("--kv <type>", "type of the KV cache (default: f16)", ["f16", "q8_0", "f32"]));
}

export function addGenerateOptions(command: Command): Command {
  return command
    .option("--max-tokens <n>", "most tokens of an answer (default: what the context has room for)", count(0))
    .option("--temperature <x>", "0: always the likeliest token (default: the model's, else 0.8)", number)
    .option("--top-k <n>", "only the k likeliest tokens, 0: all (default: the model's, else 40)", count(0))
    .option(
      "--top-p <x>",
      "only the likeliest that reach this probability (default: the model's, else 0.95)",
      number,
    )
    .option(
      "--min-p <x>",
      "only what is this times as likely as the likeliest (default: the model's, else 0.05)",
      number,
    )
    .option("--seed <n>", "the same seed gives the same text (default: random)", seed)
    .option("--stop <text>", "end the answer before this text; may be given more than once", collect)
    .option("--schema <file>", "the answer is one JSON document that satisfies this JSON Schema", schemaFile)
    .option(
      "--session <file>",
      "keep what was computed in this file (.safetensors): a prompt that begins alike starts at once",
    )
    .option("--system <text>", "the system's message of a chat")
    .option("--think", "let the model think before it answers (default: as its chat template has it)")
    .option("--no-think", "let it answer at once")
    .option("--raw", "no chat template; names of control tokens in the prompt are tokens")
    .option("--adapter <path[=scale]>", ADAPTER, collect);
}

/** Of samples: `pith tune` and `pith distill`. */
export function addSampleOptions(command: Command): Command {
  return command
    .option("--ctx <tokens>", "longest sample (default: the model's context, at most 2048)", count(2))
    .addOption(choice("--long <what>", "to do with longer ones (default: error)", ["error", "drop", "cut"]))
    .addOption(choice("--reasoning <what>", "of the assistant (default: learn)", ["learn", "ignore"]))
    .option("--last-only", "learn the last turn of a conversation only")
    .option("--raw", "prompt and completion are text as it stands, no chat")
    .option("--dry-run", "show samples, plan, memory and time, and train nothing");
}

/** The measures of a model to be made; `when` they are wanted. */
export function addShapeOptions(command: Command, when: string): Command {
  return command
    .option("--model-type <name>", `${when}the model type (default: llama)`)
    .option("--layers <n>", `${when}layers`, count(1))
    .option("--heads <n>", "attention heads", count(1))
    .option("--kv-heads <n>", "key and value heads (default: as many)", count(1))
    .option("--width <n>", "hidden size", count(1));
}

/** Of the training loop: `pith train`, `pith tune` and `pith distill`. */
export function addTrainingOptions(command: Command): Command {
  return command
    .addOption(
      choice("--compute <type>", "bf16 products, where the processor has them (default: f32)", [
        "f32",
        "bf16",
      ]),
    )
    .option("--recompute", "less memory for activations, a third more time")
    .option("--data <file>", "what is learned; may be given more than once", collect)
    .option("--eval <file>", "what it is measured on; may be given more than once", collect)
    .option("--eval-share <x>", "instead: keep this share of the data for that", number)
    .option("--epochs <n>", "passes over the data", number)
    .option("--steps <n>", "end after so many steps", count(1))
    .option("--batch-tokens <n>", "tokens of a step, in as many micro-batches as memory asks for", count(1))
    .option("--lr <x>", "highest learning rate", number)
    .option("--min-lr <x>", "learning rate at the end (default: 0)", number)
    .addOption(
      choice("--schedule <name>", "how the learning rate falls (default: cosine)", [
        "cosine",
        "linear",
        "constant",
      ]),
    )
    .option("--warmup <n>", "steps in which the learning rate rises; below 1: their share of all", number)
    .option("--weight-decay <x>", "of matrices", number)
    .option("--beta2 <x>", "of AdamW", number)
    .option("--clip <x>", "longest gradient (default: 1)", number)
    .option("--eval-steps <n>", "steps between evaluations (default: ten in the run)", count(1))
    .option("--patience <n>", "end after so many evaluations that are no better", count(1))
    .option("--save-steps <n>", "steps between checkpoints (default: five minutes)", count(1))
    .option("--seed <n>", "of everything random (default: 0)", count(0))
    .option("--resume", "go on from the last checkpoint in the folder")
    .option("--out <folder>", "where the result, checkpoints and the report are written")
    .option("--threads <n>", "threads to compute with", count(1))
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .option("--json", "print JSON at the end");
}

export const ADAPTER = "a PEFT folder or a GGUF adapter, with a scale if wanted; may be given more than once";

export function choice(flags: string, description: string, values: readonly string[]): Option {
  return new Option(flags, description).choices(values);
}

/** Names with commas between them, or "all". */
export const names = (text: string): true | string[] =>
  text === "all" ? true : text.split(",").map((name) => name.trim());

/** Some of `values`, with commas between; the option may be given more than once. */
export function list(values: readonly string[]): (text: string, before?: string[]) => string[] {
  return (text, before = []) => {
    const names = text.split(",").map((name) => name.trim());
    const wrong = names.find((name) => !values.includes(name));
    if (wrong !== undefined)
      throw new InvalidArgumentError(`Found ${JSON.stringify(wrong)}, wanted some of ${values.join(", ")}.`);
    return [...before, ...names];
  };
}

/** A whole number from `min` on. */
export function count(min: number): (text: string) => number {
  return (text) => {
    const value = Number(text);
    if (!/^\d+$/.test(text) || !Number.isSafeInteger(value) || value < min)
      throw new InvalidArgumentError(`Wanted a whole number, ${min} or more.`);
    return value;
  };
}

export function number(text: string): number {
  const value = Number(text);
  if (text.trim() === "" || !Number.isFinite(value)) throw new InvalidArgumentError("Wanted a number.");
  return value;
}

/** "50%" or "0.5" */
export function share(text: string): number {
  const [, digits, percent] = /^(\d+(?:\.\d+)?|\.\d+)\s*(%?)$/.exec(text.trim()) ?? [];
  const value = Number(digits) / (percent ? 100 : 1);
  if (!(value > 0 && value <= 1)) throw new InvalidArgumentError("Wanted a share, 50% or 0.5, up to 100%.");
  return value;
}

function seed(text: string): number | bigint {
  if (!/^\d{1,20}$/.test(text)) throw new InvalidArgumentError("Wanted a whole number, 0 or more.");
  const value = BigInt(text);
  return value <= Number.MAX_SAFE_INTEGER ? Number(value) : value;
}

export function schemaFile(path: string): JsonSchema {
  let text: string;
  try {
    text = readFileSync(path, "utf8");
  } catch (error) {
    throw new InvalidArgumentError(`Cannot read it: ${(error as Error).message}.`);
  }
  try {
    return JSON.parse(text) as JsonSchema;
  } catch (error) {
    throw new InvalidArgumentError(`It is no JSON: ${(error as Error).message}.`);
  }
}

/** Values of an option that may be given more than once. */
export function collect(value: string, before: string[] = []): string[] {
  return [...before, value];
}

/** What of the options `loadModel` takes. */
export function loadOptions({ threads, backend, ctx, kv, quantize }: ModelOptions): LoadModelOptions {
  return defined({ threads, backend, ctx, kv, quantize });
}

/** What of the options `chat` alone takes. */
export function chatOptions({ think }: TextOptions): Pick<ChatOptions, "think"> {
  return defined({ think });
}

/** What of the options `generate` and `chat` take. */
export function generateOptions(options: TextOptions): GenerateOptions {
  const { maxTokens, temperature, topK, topP, minP, seed, stop, schema, attached: adapter } = options;
  return defined({ maxTokens, temperature, topK, topP, minP, seed, stop, schema, adapter });
}

/** The properties that are set. */
function defined<T extends object>(all: T): { [K in keyof T]: Exclude<T[K], undefined> } {
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined)) as never;
}

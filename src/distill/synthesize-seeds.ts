// Seeds: samples as `pith tune` reads them, of which answers may be missing; and how a teacher is shown some of them.

import type { Json } from "../formats/json.ts";
import { lineName } from "../formats/jsonl.ts";
import { type ChatMessage, readMessages } from "../tokenizer/index.ts";
import { DataFile } from "../train/data/files.ts";
import { sampleRecord } from "../train/data/records.ts";
import { Random } from "../train/random.ts";

/** What the samples of a set are: texts, prompts with completions, or conversations. */
export type SeedKind = "text" | "completion" | "chat";

export interface Seed {
  /** The text, the prompt, or the last user's message. */
  readonly prompt: string;
  readonly answer?: string;
  /** Of a conversation, what stands before the answer. */
  readonly messages?: readonly ChatMessage[];
  readonly line: number;
}

export interface Seeds {
  readonly kind: SeedKind;
  readonly seeds: readonly Seed[];
  /** SHA-256 of every file. */
  readonly digests: readonly string[];
}

/** @throws {Error} naming the file and the line of what is no seed, or of another kind than those before it */
export async function readSeeds(files: readonly string[], signal?: AbortSignal): Promise<Seeds> {
  const seeds: Seed[] = [];
  const digests: string[] = [];
  let kind: SeedKind | undefined;
  for (const name of files) {
    const file = new DataFile(name, signal ? { signal } : {});
    for await (const { line, value } of file.lines()) {
      const fail = (message: string): never => {
        throw new TypeError(`Cannot read ${JSON.stringify(lineName(name, line))}: ${message}`);
      };
      const [found, seed] = seedOf(value, line, fail);
      kind ??= found;
      if (found !== kind) fail(`it is a ${found}, those before it are a ${kind}, wanted one kind`);
      seeds.push(seed);
    }
    digests.push(file.digest());
  }
  if (kind === undefined)
    throw new RangeError(
      `Cannot read ${JSON.stringify(files.join(", "))}: found no seeds, wanted at least one`,
    );
  return { kind, seeds, digests };
}

function seedOf(
  value: { readonly [key: string]: Json },
  line: number,
  fail: (message: string) => never,
): [SeedKind, Seed] {
  const { messages, prompt, completion } = value;
  const bare = Array.isArray(messages) ? messages : Array.isArray(prompt) && !completion ? prompt : undefined;
  if (bare && (bare.at(-1) as { role?: Json } | undefined)?.role === "user")
    return ["chat", conversation(readMessages(bare, "messages", fail), undefined, line, fail)];
  if (
    messages === undefined &&
    typeof prompt === "string" &&
    (completion === undefined || completion === null)
  )
    return prompt.trim() === "" ? fail(`"prompt" is empty, wanted text`) : ["completion", { prompt, line }];
  const record = sampleRecord(value, {}, false, fail);
  if (record.kind === "text") return ["text", { prompt: record.text, line }];
  if (record.kind === "completion")
    return ["completion", { prompt: record.prompt, answer: record.completion, line }];
  const end = record.messages.findLastIndex(({ role }) => role === "assistant");
  return ["chat", conversation(record.messages.slice(0, end), record.messages[end], line, fail)];
}

function conversation(
  messages: readonly ChatMessage[],
  last: ChatMessage | undefined,
  line: number,
  fail: (message: string) => never,
): Seed {
  const asked = messages.at(-1);
  const answer = last?.content;
  if (asked?.role !== "user" || typeof asked.content !== "string")
    return fail("no user's text stands before the answer, wanted one");
  if (last && typeof answer !== "string") return fail("the answer is no text, wanted one");
  return { prompt: asked.content, messages, line, ...(typeof answer === "string" && { answer }) };
}

/** Which seeds an attempt shows: k of them at random, a function of the seed and the attempt's number. */
export function chooseSeeds(seeds: readonly Seed[], k: number, seed: number, attempt: number): Seed[] {
  const random = new Random(seed, 0x73656564, attempt);
  const chosen: Seed[] = [];
  // Shuffled as far as needed: places that hold another seed than their own.
  const moved = new Map<number, number>();
  for (let left = seeds.length; chosen.length < k && left > 0; left--) {
    const at = random.below(left);
    chosen.push(seeds[moved.get(at) ?? at]!);
    moved.set(at, moved.get(left - 1) ?? left - 1);
  }
  return chosen;
}

/** What is written and what ends it. A prompt of messages is for a chat model. */
export interface Asked {
  readonly prompt: string | readonly ChatMessage[];
  readonly stop: readonly string[];
}

/** Asks for one more text or prompt in the manner of examples. */
export function askPrompt(kind: SeedKind, examples: readonly Seed[], chat: boolean): Asked {
  const name = kind === "text" ? "Text" : "Request";
  const tag = name.toLowerCase();
  if (!chat) {
    const shown = examples.map(({ prompt }) => `${name}: ${prompt.trim()}\n\n`).join("");
    return { prompt: `${shown}${name}:`, stop: [`\n${name}:`] };
  }
  const shown = examples.map(({ prompt }) => `<${tag}>\n${prompt.trim()}\n</${tag}>`).join("\n\n");
  const content = `Here are ${examples.length} examples of a ${tag}.\n\n${shown}\n\nWrite one new ${tag} of the same kind and style about something else. Write nothing but the ${tag}, as <${tag}> ... </${tag}>.`;
  return { prompt: [{ role: "user", content }], stop: [`</${tag}>`] };
}

/** The prompt or text out of what was written. */
export function writtenPrompt(text: string): string {
  const bare = text.replace(/^[\s\S]*<\/think>/, "");
  const open = /<(?:request|text)>/.exec(bare);
  return (open ? bare.slice(open.index + open[0].length) : bare)
    .replace(/<\/(?:request|text)>[\s\S]*$/, "")
    .trim();
}

/** Asks for the answer to a prompt, after examples of answers, if any are wanted. */
export function askAnswer(
  prompt: string,
  examples: readonly Seed[],
  messages: readonly ChatMessage[] | undefined,
  system: string | undefined,
  chat: boolean,
): Asked {
  if (chat) {
    const shots = examples.flatMap((seed) => [
      { role: "user", content: seed.prompt },
      { role: "assistant", content: seed.answer },
    ]);
    const own = messages ?? [{ role: "user", content: prompt }];
    const given = own[0]?.role === "system" ? own.slice(0, 1) : [];
    const head = system === undefined ? given : [{ role: "system", content: system }];
    return { prompt: [...head, ...shots, ...own.slice(given.length)], stop: [] };
  }
  if (examples.length === 0) return { prompt, stop: [] };
  const shown = examples
    .map((seed) => `Request: ${seed.prompt.trim()}\nAnswer: ${seed.answer!.trim()}\n\n`)
    .join("");
  return { prompt: `${shown}Request: ${prompt.trim()}\nAnswer:`, stop: ["\nRequest:"] };
}

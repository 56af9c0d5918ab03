// pith run: a prompt's answer, or a chat where there is no prompt. Text alone on stdout, figures on stderr.

import { existsSync } from "node:fs";
import type { AdapterChoice } from "../generate/adapters.ts";
import type { Generation, GenerationResult } from "../generate/generation.ts";
import type { Model, SessionOptions } from "../generate/model.ts";
import { attachAdapters } from "./adapters.ts";
import { load } from "./load.ts";
import { chatOptions, generateOptions, type TextOptions } from "./options.ts";
import { figure, note, printJson, writeText } from "./output.ts";

export interface RunOptions extends TextOptions {
  json?: boolean;
}

export async function run(nameOrPath: string, words: readonly string[], given: RunOptions): Promise<void> {
  const prompt = words.length > 0 ? words.join(" ") : process.stdin.isTTY ? undefined : await readStdin();
  await using model = await load(nameOrPath, given);
  const options = { ...given, attached: await attachAdapters(model, given.adapter) };
  if (prompt === undefined) {
    await startChat(model, options); // not returned: the model stays open until it ends
    return;
  }
  await openSession(model, options);
  const answer = start(model, prompt, options);
  const result = await untilInterrupted(answer, options.json ? undefined : writeText);
  if (options.json) printJson(report(model, result));
  else {
    if (!result.text.endsWith("\n")) process.stdout.write("\n");
    note(figures(result));
  }
  if (options.session !== undefined)
    await keepSession(model, [...promptIds(model, prompt, options), ...result.ids], options);
  if (result.finishReason === "abort") process.exitCode = 130;
  else if (options.schema !== undefined && !("parsed" in result)) {
    const why =
      result.finishReason === "length"
        ? "--max-tokens, or the context, was too small"
        : "a stop string ended it";
    note(`Cannot give the whole document: ${why}`);
    process.exitCode = 1;
  }
}

/** Apart from `run`, as TypeScript 6 leaves the ".ts" in an import beside `await using`. */
async function startChat(model: Model, options: TextOptions): Promise<void> {
  await (await import("./chat.ts")).chat(model, options);
}

/** A chat of one turn where the model has a template, a continued text where it has none or `--raw` is given. */
function start(model: Model, prompt: string, options: TextOptions): Generation {
  const settings = generateOptions(options);
  if (isChat(model, options))
    return model.chat(turn(prompt, options), { ...settings, ...chatOptions(options) });
  if (options.think !== undefined)
    throw new TypeError(
      `Cannot use --think or --no-think ${options.raw ? "with --raw" : `with ${JSON.stringify(model.name)}: it has no chat template`}, wanted a chat`,
    );
  if (options.system !== undefined && !options.raw)
    throw new TypeError(
      `Cannot use --system with ${JSON.stringify(model.name)}: it has no chat template, wanted one`,
    );
  return model.generate(prompt, { ...settings, raw: options.raw ?? false });
}

/** The ids that `start` makes of a prompt. */
function promptIds(model: Model, prompt: string, options: TextOptions): number[] {
  return isChat(model, options)
    ? model.encodeMessages(turn(prompt, options), chatOptions(options))
    : Array.from(model.encodePrompt(prompt, options.raw));
}

const isChat = (model: Model, { raw }: TextOptions) => model.canChat && !raw;
const turn = (prompt: string, options: TextOptions) => [
  ...systemMessage(options),
  { role: "user", content: prompt },
];

/** Takes in what an earlier run has kept, if it has. */
export async function openSession(model: Model, { session, attached }: TextOptions): Promise<void> {
  if (session !== undefined && existsSync(session)) await model.loadSession(session, withAdapter(attached));
}

export async function keepSession(
  model: Model,
  ids: readonly number[],
  { session, attached }: TextOptions,
): Promise<void> {
  if (session === undefined) return;
  if ((await model.saveSession(session, ids, withAdapter(attached))) === 0)
    note("(no session was written: it would have fewer than 64 tokens)");
}

const withAdapter = (adapter: AdapterChoice | undefined): SessionOptions => (adapter ? { adapter } : {});

export function systemMessage({ system }: TextOptions): { role: string; content: string }[] {
  return system === undefined ? [] : [{ role: "system", content: system }];
}

/** Shows the parts as they come. Ctrl-C ends the answer; once more, the process. */
export async function untilInterrupted(
  answer: Generation,
  show?: (text: string) => Promise<void>,
): Promise<GenerationResult> {
  const onInterrupt = () => answer.cancel();
  process.once("SIGINT", onInterrupt);
  try {
    if (show) for await (const { text } of answer) await show(text);
    return await answer;
  } finally {
    process.off("SIGINT", onInterrupt);
  }
}

const rate = (perSecond: number) => (perSecond > 0 ? `, ${figure(perSecond)}/s` : "");

/** One line about an answer. */
export function figures({ usage, stats, finishReason }: GenerationResult): string {
  const cached = usage.cachedTokens > 0 ? ` (${figure(usage.cachedTokens)} cached)` : "";
  return [
    `prompt ${figure(usage.promptTokens)} tokens${cached}${rate(stats.promptTokensPerSecond)}`,
    `answer ${figure(usage.completionTokens)} tokens${rate(stats.tokensPerSecond)}`,
    finishReason,
  ].join(" · ");
}

/** What `--json` prints. */
function report(model: Model, result: GenerationResult): object {
  const { usage, stats } = result;
  return {
    model: model.name,
    ...(model.adapters.length > 0 && {
      adapters: model.adapters.map(({ name, digest }) => ({ name, digest })),
    }),
    text: result.text,
    ...("parsed" in result && { parsed: result.parsed }),
    finish_reason: result.finishReason,
    prompt_tokens: usage.promptTokens,
    cached_tokens: usage.cachedTokens,
    completion_tokens: usage.completionTokens,
    first_token_ms: stats.firstTokenMs,
    total_ms: stats.totalMs,
    prompt_tokens_per_second: stats.promptTokensPerSecond,
    tokens_per_second: stats.tokensPerSecond,
    seed: result.seed,
    ids: result.ids,
  };
}

/** What is piped in, less the line end that shells put after it. */
async function readStdin(): Promise<string> {
  process.stdin.setEncoding("utf8");
  let text = "";
  for await (const piece of process.stdin) text += piece;
  text = text.replace(/\r?\n$/, "");
  if (text === "")
    throw new TypeError(
      'Cannot run without a prompt: nothing was piped in; give one: pith run <model> "Once upon a time"',
    );
  return text;
}

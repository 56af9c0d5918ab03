// Records -> ids, and which of them are learned. A conversation is rendered by the model's chat template; learned are the
// assistant's own tokens and the token that ends its turn.

import {
  type AssistantTurn,
  assistantTurn,
  type ChatMessage,
  type ChatSegment,
  type ChatTemplate,
  cutSegments,
  fitToolCalls,
  joinSegments,
  type Tokenizer,
} from "../../tokenizer/index.ts";
import type { SampleRecord } from "./records.ts";

export interface MaskOptions {
  readonly tokenizer: Tokenizer;
  /** For conversations. */
  readonly template?: ChatTemplate | undefined;
  /** Settings of the chat template for all conversations (`enable_thinking`). */
  readonly settings?: Readonly<Record<string, unknown>> | undefined;
  /** Tokens that end a turn. */
  readonly stopIds: readonly number[];
  /** Whether reasoning blocks are learned, or only stand before what is. */
  readonly reasoning: "learn" | "ignore";
  /** Only a conversation's last turn is learned. */
  readonly lastOnly: boolean;
}

export interface Masked {
  readonly ids: number[];
  readonly learned: Uint8Array;
}

/** What was noticed on the way, in numbers of turns; the reader makes warnings of it. */
export interface Notes {
  /** Turns whose end token is not among the tokens that end generation, by its text. */
  readonly unknownEnds: Map<string, number>;
  /** Turns that got samples of their own, as the template writes them differently later. */
  rewritten: number;
  /** Reasoning that the template leaves out. */
  lostReasoning: number;
}

/**
 * The samples of a record: one, except for a conversation of which the template rewrites earlier turns (it drops their
 * reasoning, say). There each turn is learned as the model will have to write it, in a sample that ends with it,
 * unless a later sample has it just so.
 * @throws {TypeError} when the template refuses the conversation, or has lost what is to be learned
 */
export function maskRecord(record: SampleRecord, options: MaskOptions, notes: Notes): Masked[] {
  if (record.kind === "chat") return maskChat(record, options, notes);
  const { tokenizer } = options;
  const eos = tokenizer.eosIds[0];
  const begin = tokenizer.addsBos && tokenizer.bosId !== undefined ? [tokenizer.bosId] : [];
  if (record.kind === "text") {
    const ids = begin.concat(tokenizer.encode(record.text, { addSpecial: false }));
    if (eos !== undefined) ids.push(eos);
    return [{ ids, learned: new Uint8Array(ids.length).fill(1, begin.length) }];
  }
  if (eos === undefined) throw new TypeError("the tokenizer has no end token, wanted one to learn behind it");
  const plain = (text: string) => [{ text, trusted: false }];
  const [prompt, completion] = tokenizer.encodeParts([plain(record.prompt), plain(record.completion)]);
  const ids = [...begin, ...prompt!, ...completion!, eos];
  return [{ ids, learned: new Uint8Array(ids.length).fill(1, begin.length + prompt!.length) }];
}

function maskChat(record: SampleRecord & { kind: "chat" }, options: MaskOptions, notes: Notes): Masked[] {
  const { tokenizer, template, stopIds } = options;
  if (!template) throw new TypeError("the model has no chat template, wanted one for messages");
  const chat = fitToolCalls(template, {
    ...options.settings,
    ...record.settings,
    ...(record.tools && { tools: record.tools }),
    messages: record.messages.map((message) => named(message, template)),
  });
  const indices = record.messages.flatMap(({ role, weight }, i) =>
    role === "assistant" && i >= record.from && weight !== 0 ? [i] : [],
  );
  let turns = (options.lastOnly ? indices.slice(-1) : indices).map((index) =>
    turnOf(assistantTurn(tokenizer, template, chat, index, stopIds), chat.messages[index]!, options, notes),
  );
  const samples: Masked[] = [];
  // The last turn's sample, with all earlier turns that stand in it as they were; then of those that did not.
  for (let last = turns.at(-1); last; last = turns.at(-1)) {
    const sample = last;
    if (samples.length > 0) notes.rewritten++;
    const spans: Span[] = [];
    turns = turns.slice(0, -1).filter((turn) => {
      const end = endIn(turn, sample, options);
      if (end !== undefined) spans.push(...turn.spans.slice(0, -1), [turn.spans.at(-1)![0], end]);
      return end === undefined;
    });
    samples.unshift(encode([...spans, ...sample.spans], sample, options));
  }
  return samples;
}

type Span = readonly [start: number, end: number];

interface Turn extends AssistantTurn {
  readonly text: string;
  /** What of the text is learned. The last one ends with the turn. */
  readonly spans: readonly Span[];
}

function turnOf(turn: AssistantTurn, message: ChatMessage, options: MaskOptions, notes: Notes): Turn {
  const text = joinSegments(turn.segments);
  const last = turn.endId === undefined ? turn.segments.at(-1)! : undefined;
  const endId = turn.endId ?? options.tokenizer.specialTokens.get(last!.text);
  if (last && (endId === undefined || !options.stopIds.includes(endId)))
    notes.unknownEnds.set(last.text, (notes.unknownEnds.get(last.text) ?? 0) + 1);
  const reasoning = REASONING_FIELDS.map((name) => message[name]).find((x) => typeof x === "string");
  const lost = typeof reasoning === "string" && !text.slice(turn.start).includes(reasoning.trim());
  if (lost) notes.lostReasoning++;
  const spans =
    options.reasoning === "learn" ? [[turn.start, text.length] as const] : afterReasoning(turn.start, text);
  if (options.reasoning === "ignore" && typeof reasoning === "string" && !lost && reasoning.trim() !== "")
    if (spans.some(([from, to]) => text.slice(from, to).includes(reasoning.trim())))
      throw new TypeError(
        `Cannot leave the reasoning of message ${turn.message + 1} out: it stands in no block that is known, wanted one of ${REASONING.map(([open]) => open.trim()).join(", ")}`,
      );
  return { ...turn, text, spans };
}

/** Where `turn` ends in the longer text of `sample`, or undefined when it stands there otherwise or not at all. */
function endIn(turn: Turn, sample: Turn, { stopIds, tokenizer }: MaskOptions): number | undefined {
  if (!sample.text.startsWith(turn.text)) return undefined;
  if (turn.endId === undefined) return turn.text.length;
  // Its end is what the template begins the next turn with, when that is a token that stops the model.
  let at = 0;
  for (const { text, trusted } of sample.segments) {
    if (at === turn.text.length) {
      const id = trusted ? tokenizer.specialTokens.get(text) : undefined;
      return id !== undefined && stopIds.includes(id) ? at + text.length : undefined;
    }
    at += text.length;
  }
  return undefined;
}

function encode(spans: readonly Span[], { segments, endId }: Turn, { tokenizer }: MaskOptions): Masked {
  const parts: ChatSegment[][] = [];
  let at = 0;
  // Cut at the masks' borders, as text of the prompt and of the answer are when the model generates.
  for (const [start, end] of spans) {
    parts.push(cutSegments(segments, at, start), cutSegments(segments, start, end));
    at = end;
  }
  const encoded = tokenizer.encodeParts(parts);
  if (endId !== undefined) encoded.at(-1)!.push(endId);
  const ids = encoded.flat();
  const learned = new Uint8Array(ids.length);
  let from = 0;
  for (const [i, part] of encoded.entries()) {
    if (i % 2 === 1) learned.fill(1, from, from + part.length);
    from += part.length;
  }
  return { ids, learned };
}

/** What templates call the reasoning of a message. */
const REASONING_FIELDS = ["reasoning_content", "reasoning", "thinking"] as const;

/** The message with its reasoning under the name that the template knows. */
function named(message: ChatMessage, template: ChatTemplate): ChatMessage {
  const given = REASONING_FIELDS.find((name) => typeof message[name] === "string");
  if (message.role !== "assistant" || given === undefined) return message;
  const knows = (name: string) => new RegExp(`[.'"]${name}\\b`).test(template.source);
  const wanted = knows(given) ? given : REASONING_FIELDS.find(knows);
  if (wanted === undefined || wanted === given) return message;
  const { [given]: reasoning, ...rest } = message;
  return { ...rest, [wanted]: reasoning };
}

/** How models begin and end their reasoning. The first tag may stand in the prompt, or nowhere. */
const REASONING: readonly (readonly [open: string, close: string])[] = [
  ["<think>", "</think>"],
  ["<seed:think>", "</seed:think>"],
  ["[THINK]", "[/THINK]"],
  ["<|START_THINKING|>", "<|END_THINKING|>"],
  ["<|channel|>analysis<|message|>", "<|end|>"],
  ["<|channel>thought", "<channel|>"],
  ["<|think|>", "<|end|>"],
  ["<|inner_prefix|>", "<|inner_suffix|>"],
  ["Here are my reasoning steps:\n", "[BEGIN FINAL RESPONSE]"],
];

/** What a turn says beside its reasoning blocks. */
function afterReasoning(start: number, text: string): Span[] {
  const spans: Span[] = [];
  let from = start;
  for (const [open, close] of REASONING) {
    const opened = text.indexOf(open, start);
    // An end alone tells enough, unless turns end with the same token.
    const headless = opened < 0 && close !== "<|end|>" && text.includes(close, start);
    const inPrompt = headless || text.slice(0, start).trimEnd().endsWith(open.trimEnd());
    if (opened < 0 && !inPrompt) continue;
    for (let begin = inPrompt ? start : opened; begin >= 0; ) {
      const end = text.indexOf(close, begin);
      if (end < 0) break;
      if (text.slice(from, begin).trim() !== "") spans.push([from, begin]);
      from = end + close.length;
      while (from < text.length && text[from]!.trim() === "") from++;
      begin = text.indexOf(open, from);
    }
    break;
  }
  spans.push([from, text.length]);
  return spans;
}

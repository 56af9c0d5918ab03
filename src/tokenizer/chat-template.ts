// Messages -> the text or ids that a model was trained on, by its own Jinja template. A control token comes from the
// template or not at all: its text inside a message stays text.

import { AddedTokens } from "./added-tokens.ts";
import { fitToolCalls } from "./chat-calls.ts";
import { Budget } from "./template/budget.ts";
import { builtins, Refusal } from "./template/builtins.ts";
import { runTemplate } from "./template/interpreter.ts";
import { type Node, parseTemplate } from "./template/parse.ts";
import { Text } from "./template/text.ts";
import { fromHost, type Owner, ownRoles } from "./template/values.ts";
import type { ChatInput, ChatSegment, Tokenizer } from "./types.ts";

/**
 * A chat template. Rendering runs in this process and is bounded: a million steps, strings of 8 MiB, lists of a
 * million elements, macros 64 deep; whatever is beyond that is an error within about a second.
 */
export class ChatTemplate {
  readonly name: string;
  readonly source: string;
  readonly #program: Node;

  /**
   * @param name - the model or file, for error messages.
   * @throws {SyntaxError} when the source is no template. @throws {RangeError} when it is over 256 KiB.
   */
  constructor(source: string, name: string) {
    this.source = source;
    this.name = name;
    this.#program = parseTemplate(source, name);
  }

  /**
   * The text of a conversation.
   * @throws {TypeError} when the template refuses the messages (an order of roles it does not know) or goes wrong on
   *   them. @throws {RangeError} when it takes too many steps or makes too much text.
   */
  render(input: ChatInput): string {
    return this.#render(input).value;
  }

  /**
   * The text of a conversation in parts. A part is trusted where the template itself spells one of `special`, the
   * texts of control tokens (of a tokenizer, `specialTokens.keys()`); everything else, words of the template and
   * of the messages alike, is not, and stays in one piece so that it becomes the ids it would have as a whole.
   */
  segments(input: ChatInput, special: Iterable<string>): ChatSegment[] {
    const text = this.#render(input);
    const tokens = new AddedTokens(Array.from(special, (content, id) => ({ id, content, special: true })));
    const out: ChatSegment[] = [];
    let start = 0;
    const push = (end: number, trusted: boolean): void => {
      if (end > start) out.push({ text: text.value.slice(start, end), trusted });
      start = end;
    };
    for (const found of tokens.find(text.value, (from, to) => text.isTrusted(from, to))) {
      push(found.start, false);
      push(found.end, true);
    }
    push(text.length, false);
    return out;
  }

  /**
   * Where the text of a conversation comes from message `index` (from 0), its role aside: `[start, end)` in ascending
   * order. What a filter made anew (JSON of a tool call, say) is in none.
   */
  spans(input: ChatInput, index: number): [start: number, end: number][] {
    const from = `messages[${index}].`;
    const { trusted } = this.#render(input, (place) => place.startsWith(from) && !place.endsWith(".role"));
    return Array.from({ length: trusted.length / 2 }, (_, i) => [trusted[2 * i]!, trusted[2 * i + 1]!]);
  }

  /** @param of - follow the strings that it says so of through the rendering, instead of the template's own. */
  #render(input: ChatInput, of?: Owner): Text {
    const at = `Cannot render chat template ${JSON.stringify(this.name)}: `;
    const { value, size } = hostInput(input, at, of ?? ownRoles);
    const budget = new Budget(size);
    const globals = builtins(budget, new Date());
    for (const [name, item] of value) globals.set(name, item);
    try {
      return runTemplate(this.#program, globals, budget, of ? Text.plain : Text.own);
    } catch (error) {
      if (error instanceof Refusal) {
        throw new TypeError(
          `Chat template ${JSON.stringify(this.name)} refuses these messages: ${error.message}`,
        );
      }
      if (error instanceof RangeError) {
        // A stack overflow, or a string beyond what JavaScript can hold, says nothing about templates.
        const deep = /call stack|string length/i.test(error.message);
        throw new RangeError(at + (deep ? "it is nested too deep or makes too much text" : error.message));
      }
      throw new TypeError(
        at + (error instanceof Error ? error.message : "a break or continue outside of a loop"),
      );
    }
  }
}

function hostInput(input: ChatInput, at: string, owner: Owner) {
  if (!Array.isArray(input.messages)) {
    throw new TypeError(`${at}messages is ${typeof input.messages}, want a list of messages`);
  }
  let size = 0;
  const value = new Map<string, ReturnType<typeof fromHost>["value"]>();
  for (const [name, item] of Object.entries({ add_generation_prompt: false, ...input })) {
    if (item === undefined) continue;
    const converted = fromHost(item, `${at}${name}`, (place, text) => owner(place.slice(at.length), text));
    size += converted.size;
    // Begin and end tokens belong to the model, not to a message.
    const own =
      owner === ownRoles && (name === "bos_token" || name === "eos_token") && typeof item === "string";
    value.set(name, own ? Text.own(item) : converted.value);
  }
  // As transformers has it, these two are none where there are none.
  for (const name of ["tools", "documents"]) if (!value.has(name)) value.set(name, null);
  return { value, size };
}

/**
 * Ids of a conversation: the template's control tokens, and text that can hold none. `bos_token` and `eos_token` are
 * the tokenizer's unless `input` has them. No begin token is added beside the template's own. Arguments of tool calls
 * may be objects or text of JSON.
 */
export function encodeChat(tokenizer: Tokenizer, template: ChatTemplate, input: ChatInput): number[] {
  const special = tokenizer.specialTokens.keys();
  const fitted = fitToolCalls(template, withTokens(tokenizer, input));
  return tokenizer.encodeSegments(template.segments(fitted, special));
}

/** The input with the tokenizer's begin and end tokens, where it has none of its own. */
export function withTokens(tokenizer: Tokenizer, input: ChatInput): ChatInput {
  const text = (id: number | undefined): string => (id === undefined ? "" : (tokenizer.tokenText(id) ?? ""));
  return { bos_token: text(tokenizer.bosId), eos_token: text(tokenizer.eosIds[0]), ...input };
}

// Splits normalized text into the words that byte-pair encoding works on. Reads `pre_tokenizer` of tokenizer.json.

import { asArray, asBoolean, asObject, asString } from "./json.ts";
import { library } from "./library.ts";
import { checkPattern } from "./pattern-safety.ts";
import { BYTE_LEVEL_PATTERN } from "./patterns.ts";
import { METASPACE } from "./vocabulary.ts";

/** Splits one piece; `first` is true for the piece that a text begins with. */
type Step = (piece: string, first: boolean) => readonly string[];

export interface PreTokenizer {
  /** Words of a section of text; `first` is true when a text begins with it. */
  words(section: string, first: boolean): readonly string[];
  /** Words are spelt in bytes (a `ByteLevel` step is there). */
  readonly byteLevel: boolean;
  /** Words are spelt with U+2581 for a space (a `Metaspace` step is there). */
  readonly metaspace: boolean;
  /** The patterns it splits by, when it does nothing else: what GGUF has a name for. */
  readonly patterns: readonly string[] | undefined;
}

/**
 * @param config - `pre_tokenizer` of a tokenizer.json, or null.
 * @param where - the file and field, for errors.
 */
export function readPreTokenizer(config: unknown, where: string): PreTokenizer {
  const steps: Step[] = [];
  const found = { byteLevel: false, metaspace: false, patterns: [] as string[] | undefined };
  const read = (value: unknown, at: string): void => {
    if (value === null || value === undefined) return;
    const step = asObject(value, at);
    const type = asString(step.type, `${at}.type`);
    switch (type) {
      case "Sequence":
        for (const [i, inner] of asArray(step.pretokenizers, `${at}.pretokenizers`).entries()) {
          read(inner, `${at}.pretokenizers[${i}]`);
        }
        return;
      case "ByteLevel": {
        found.byteLevel = true;
        if (asBoolean(step.add_prefix_space ?? false, `${at}.add_prefix_space`)) {
          found.patterns = undefined;
          steps.push((piece) => [piece.startsWith(" ") ? piece : ` ${piece}`]);
        }
        if (asBoolean(step.use_regex ?? true, `${at}.use_regex`)) {
          found.patterns?.push(BYTE_LEVEL_PATTERN);
          steps.push(isolate(compile(BYTE_LEVEL_PATTERN, at)));
        }
        return;
      }
      case "Digits":
        if (asBoolean(step.individual_digits ?? false, `${at}.individual_digits`)) {
          found.patterns?.push("\\p{N}");
          steps.push(isolate(/\p{N}/gu));
        } else {
          found.patterns?.push("\\p{N}+");
          steps.push(isolate(/\p{N}+/gu));
        }
        return;
      case "Split":
        steps.push(splitStep(step, at, found));
        return;
      case "Metaspace":
        found.metaspace = true;
        found.patterns = undefined;
        steps.push(metaspaceStep(step, at));
        return;
      default: {
        found.patterns = undefined;
        const words = otherStep(type, step, at);
        steps.push((piece) => words.pre_tokenize(piece));
      }
    }
  };
  read(config, where);
  return {
    ...found,
    words(section, first) {
      let pieces: readonly string[] = [section];
      for (const step of steps) {
        const [only] = pieces;
        if (pieces.length === 1) pieces = step(only!, first);
        else pieces = pieces.flatMap((piece, i) => step(piece, first && i === 0));
      }
      return pieces;
    },
  };
}

/** A pattern as JavaScript's, with the meaning it has in tokenizer.json (Oniguruma's), once it passes the check. */
export function compile(pattern: string, where: string): RegExp {
  checkPattern(pattern, where);
  try {
    const { pattern: compiled } = new library.SplitPreTokenizer({
      type: "Split",
      pattern: { Regex: pattern },
      behavior: "Isolated",
      invert: false,
    });
    return compiled!;
  } catch (error) {
    throw new SyntaxError(`${where}: cannot read the pattern ${JSON.stringify(pattern)} (${String(error)})`);
  }
}

/** Pieces that match and pieces between, all kept. */
export function isolate(pattern: RegExp): Step {
  return (piece) => {
    const matches = piece.match(pattern);
    if (!matches) return [piece];
    let length = 0;
    for (const match of matches) length += match.length;
    // The usual patterns match everything, and then the matches are the answer.
    return length === piece.length ? matches : pieces(piece, pattern).map(([text]) => text);
  };
}

/** `[text, matches]` of every piece, in order, without empty ones. */
function pieces(text: string, pattern: RegExp): [string, boolean][] {
  const all: [string, boolean][] = [];
  let end = 0;
  for (const match of text.matchAll(pattern)) {
    if (match[0] === "") continue;
    if (match.index > end) all.push([text.slice(end, match.index), false]);
    all.push([match[0], true]);
    end = match.index + match[0].length;
  }
  if (end < text.length) all.push([text.slice(end), false]);
  return all;
}

const BEHAVIORS = ["Isolated", "Removed", "MergedWithPrevious", "MergedWithNext", "Contiguous"];

function splitStep(
  step: Record<string, unknown>,
  at: string,
  found: { patterns: string[] | undefined },
): Step {
  const wanted = asObject(step.pattern, `${at}.pattern`);
  const literal = wanted.String;
  const source =
    literal === undefined
      ? asString(wanted.Regex, `${at}.pattern.Regex`)
      : quote(asString(literal, `${at}.pattern.String`));
  const pattern = literal === undefined ? compile(source, `${at}.pattern`) : new RegExp(source, "gu");
  const behavior = asString(step.behavior, `${at}.behavior`);
  const invert = asBoolean(step.invert ?? false, `${at}.invert`);
  if (!BEHAVIORS.includes(behavior)) {
    throw new SyntaxError(
      `${at}.behavior is ${JSON.stringify(behavior)}, want one of ${BEHAVIORS.join(", ")}`,
    );
  }
  if (behavior === "Isolated" && !invert) {
    found.patterns?.push(source);
    return isolate(pattern);
  }
  // Keeping only what a pattern matches is splitting by it, when it matches everything.
  if (behavior === "Removed" && invert && /\\s\+$/.test(source)) found.patterns?.push(source);
  else found.patterns = undefined;
  return (piece) => {
    const out: string[] = [];
    let joins = false; // the next piece continues the last one
    let last: boolean | undefined;
    for (const [text, matched] of pieces(piece, pattern)) {
      const delimiter = matched !== invert;
      if (delimiter && behavior === "Removed") continue;
      const join =
        joins ||
        (delimiter && behavior === "MergedWithPrevious" && last === false) ||
        (delimiter && behavior === "Contiguous" && last === true);
      if (join && out.length > 0) out[out.length - 1] += text;
      else out.push(text);
      joins = delimiter && behavior === "MergedWithNext";
      last = delimiter;
    }
    return out;
  };
}

const PREPEND_SCHEMES = ["always", "first", "never"];

function metaspaceStep(step: Record<string, unknown>, at: string): Step {
  const replacement = asString(step.replacement ?? METASPACE, `${at}.replacement`);
  if (replacement !== METASPACE) {
    throw new SyntaxError(`${at}.replacement is ${JSON.stringify(replacement)}, want "${METASPACE}"`);
  }
  const older = step.add_prefix_space === false ? "never" : "always";
  const scheme = asString(step.prepend_scheme ?? older, `${at}.prepend_scheme`);
  if (!PREPEND_SCHEMES.includes(scheme)) {
    throw new SyntaxError(
      `${at}.prepend_scheme is ${JSON.stringify(scheme)}, want one of ${PREPEND_SCHEMES.join(", ")}`,
    );
  }
  const split = asBoolean(step.split ?? true, `${at}.split`);
  return (piece, first) => {
    let text = piece.replaceAll(" ", METASPACE);
    const prepend = scheme === "always" || (scheme === "first" && first);
    if (prepend && !text.startsWith(METASPACE)) text = METASPACE + text;
    return split ? (text.match(/\u2581[^\u2581]*|[^\u2581]+/g) ?? []) : [text];
  };
}

function otherStep(
  type: string,
  step: Record<string, unknown>,
  at: string,
): { pre_tokenize(text: string): string[] } {
  switch (type) {
    case "BertPreTokenizer":
      return new library.BertPreTokenizer();
    case "Whitespace":
      return new library.WhitespacePreTokenizer();
    case "WhitespaceSplit":
      return new library.WhitespaceSplitPreTokenizer();
    case "Punctuation":
      return new library.PunctuationPreTokenizer({ type, behavior: "Isolated" });
    case "FixedLength": {
      const length = step.length;
      if (!Number.isInteger(length) || (length as number) < 1) {
        throw new SyntaxError(`${at}.length is ${JSON.stringify(length)}, want a whole number from 1`);
      }
      return new library.FixedLengthPreTokenizer({ type, length: length as number });
    }
    default:
      throw new SyntaxError(
        `${at}.type is ${JSON.stringify(type)}, want ByteLevel, Split, Digits, Metaspace, Sequence, ` +
          "Punctuation, Whitespace, WhitespaceSplit, FixedLength or BertPreTokenizer",
      );
  }
}

function quote(text: string): string {
  return text.replace(/[.*+?^${}()|[\]\\/-]/g, (c) => `\\u{${c.charCodeAt(0).toString(16)}}`);
}

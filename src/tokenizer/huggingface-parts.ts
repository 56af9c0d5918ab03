// The smaller parts of a tokenizer.json: normalizer, decoder, post-processor. Each is checked before it is used.

import { asArray, asIndex, asObject, asString, brief } from "./json.ts";
import { library } from "./library.ts";
import { checkPattern } from "./pattern-safety.ts";
import { METASPACE, type Vocabulary } from "./vocabulary.ts";

type Json = Record<string, unknown>;

/** Refuses every pattern inside `value` that a text could make slow. */
function checkPatterns(value: unknown, where: string, depth = 0): void {
  if (typeof value !== "object" || value === null) return;
  if (depth > 16) throw new RangeError(`${where} is nested too deep, want at most 16 levels`);
  for (const [key, inner] of Object.entries(value)) {
    if (key === "Regex") checkPattern(asString(inner, `${where}.Regex`), where);
    else checkPatterns(inner, `${where}.${key}`, depth + 1);
  }
}

const NORMALIZERS = [
  "BertNormalizer",
  "Lowercase",
  "NFC",
  "NFD",
  "NFKC",
  "NFKD",
  "Precompiled",
  "Prepend",
  "Replace",
  "Sequence",
  "Strip",
  "StripAccents",
];

/** Longest text that a normalizer may insert at a place: repeated replacements must not explode. */
const MAX_INSERT = 64;

export interface Normalizer {
  normalize(text: string): string;
  /** Puts U+2581 in front. */
  readonly prepends: boolean;
}

export function readNormalizer(config: unknown, where: string): Normalizer {
  if (config === null || config === undefined) return { normalize: (text) => text, prepends: false };
  let prepends = false;
  const check = (value: unknown, at: string, depth: number): void => {
    const step = asObject(value, at);
    const type = asString(step.type, `${at}.type`);
    if (!NORMALIZERS.includes(type)) {
      throw new RangeError(`${at}.type is ${brief(type)}, want one of ${NORMALIZERS.join(", ")}`);
    }
    if (depth > 8) throw new RangeError(`${at} is nested too deep, want at most 8 levels`);
    if (type === "Sequence") {
      const steps = asArray(step.normalizers, `${at}.normalizers`);
      if (steps.length > 32) throw new RangeError(`${at} has ${steps.length} steps, want at most 32`);
      for (const [i, inner] of steps.entries()) check(inner, `${at}.normalizers[${i}]`, depth + 1);
    } else if (type === "Prepend" || type === "Replace") {
      const field = type === "Prepend" ? "prepend" : "content";
      const inserted = asString(step[field] ?? "", `${at}.${field}`);
      if (inserted.length > MAX_INSERT) {
        throw new RangeError(`${at}.${field} has ${inserted.length} characters, want at most ${MAX_INSERT}`);
      }
      prepends ||= type === "Prepend" && inserted === METASPACE;
      if (type === "Replace") {
        const pattern = asObject(step.pattern, `${at}.pattern`);
        asString(pattern.String ?? pattern.Regex, `${at}.pattern`);
      }
    }
  };
  check(config, where, 0);
  checkPatterns(config, where);
  try {
    const { SequenceNormalizer } = library;
    const normalizer = new SequenceNormalizer({ type: "Sequence", normalizers: [config] });
    return { normalize: (text) => normalizer.normalize(text), prepends };
  } catch (error) {
    throw new SyntaxError(`${where} cannot be used (${(error as Error).message})`);
  }
}

const DECODERS = [
  "ByteLevel",
  "ByteFallback",
  "Fuse",
  "Metaspace",
  "Replace",
  "Sequence",
  "Strip",
  "WordPiece",
];

/**
 * Decoding is the bytes of the tokens in a row (see Vocabulary), so of a decoder only one thing is left to know:
 * whether the text loses a leading space. Decoders that do anything else are refused.
 */
export function readDecoder(
  config: unknown,
  byteLevel: boolean,
  where: string,
): { stripsLeadingSpace: boolean } {
  const result = { stripsLeadingSpace: false };
  if ((config === null || config === undefined) && byteLevel) return result;
  const read = (value: unknown, at: string, depth: number): void => {
    const step = asObject(value, at);
    const type = asString(step.type, `${at}.type`);
    if (!DECODERS.includes(type) || depth > 4) {
      throw new RangeError(`${at}.type is ${brief(type)}, want one of ${DECODERS.join(", ")}`);
    }
    if (type === "Sequence") {
      for (const [i, inner] of asArray(step.decoders, `${at}.decoders`).entries()) {
        read(inner, `${at}.decoders[${i}]`, depth + 1);
      }
    } else if (type === "Strip") {
      const { content = " ", start = 0, stop = 0 } = step;
      if (content !== " " || (start !== 0 && start !== 1) || stop !== 0) {
        throw new RangeError(`${at} is ${brief(step)}, want at most one leading space`);
      }
      result.stripsLeadingSpace ||= start === 1;
    } else if (type === "Replace") {
      const pattern = asObject(step.pattern, `${at}.pattern`);
      if (pattern.String !== METASPACE || step.content !== " ") {
        throw new RangeError(`${at} is ${brief(step)}, want "${METASPACE}" replaced by a space`);
      }
    } else if (type === "Metaspace") {
      const never = step.prepend_scheme === "never" || step.add_prefix_space === false;
      result.stripsLeadingSpace ||= !never;
    } else if (type === "WordPiece") {
      if ((step.prefix ?? "##") !== "##") {
        throw new RangeError(`${at}.prefix is ${brief(step.prefix)}, want "##"`);
      }
      result.stripsLeadingSpace = true;
    }
  };
  read(config, where, 0);
  return result;
}

/** Ids that a post-processor puts around a text. */
export function readPostProcessor(
  config: unknown,
  vocabulary: Vocabulary,
  where: string,
): { prefix: number[]; suffix: number[] } {
  const prefix: number[] = [];
  const suffix: number[] = [];
  const id = (value: unknown, at: string): number => asIndex(value, at, vocabulary.tokens.length);
  const read = (value: unknown, at: string, depth: number): void => {
    if (value === null || value === undefined) return;
    const step = asObject(value, at);
    switch (step.type) {
      case "ByteLevel":
        return;
      case "Sequence":
        if (depth > 4) throw new RangeError(`${at} is nested too deep, want at most 4 levels`);
        for (const [i, inner] of asArray(step.processors, `${at}.processors`).entries()) {
          read(inner, `${at}.processors[${i}]`, depth + 1);
        }
        return;
      case "BertProcessing":
      case "RobertaProcessing":
        prefix.push(id(asArray(step.cls, `${at}.cls`)[1], `${at}.cls[1]`));
        suffix.push(id(asArray(step.sep, `${at}.sep`)[1], `${at}.sep[1]`));
        return;
      case "TemplateProcessing":
        template(step, at);
        return;
      default:
        throw new RangeError(
          `${at}.type is ${brief(step.type)}, want TemplateProcessing, ByteLevel, BertProcessing, ` +
            "RobertaProcessing or Sequence",
        );
    }
  };
  const template = (step: Json, at: string): void => {
    const special = asObject(step.special_tokens ?? {}, `${at}.special_tokens`);
    let side = prefix;
    for (const [i, part] of asArray(step.single, `${at}.single`).entries()) {
      const item = asObject(part, `${at}.single[${i}]`);
      if (item.Sequence !== undefined) {
        side = suffix;
        continue;
      }
      const key = asString(
        asObject(item.SpecialToken, `${at}.single[${i}].SpecialToken`).id,
        `${at}.single[${i}].SpecialToken.id`,
      );
      const token = asObject(
        Object.hasOwn(special, key) ? special[key] : undefined,
        `${at}.special_tokens[${brief(key)}]`,
      );
      for (const value of asArray(token.ids, `${at}.special_tokens[${brief(key)}].ids`)) {
        side.push(id(value, `${at}.special_tokens[${brief(key)}].ids`));
      }
    }
  };
  read(config, where, 0);
  return { prefix, suffix };
}

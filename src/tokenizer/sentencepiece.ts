// Reads SentencePiece's tokenizer.model, a protocol buffer: entries, scores, kinds. Trusts no byte of it.
//
//   ModelProto      1 pieces (repeated SentencePiece)  2 trainer_spec  3 normalizer_spec
//   SentencePiece   1 piece (string)  2 score (float)  3 type (1 normal, 2 unknown, 3 control, 4 user, 5 unused, 6 byte)
//   TrainerSpec     3 model_type (1 unigram, 2 bpe, 3 word, 4 char)
//   NormalizerSpec  2 precompiled_charsmap (bytes)  3 add_dummy_prefix (bool, default true)

import { brief } from "./json.ts";
import { spmTokenizer } from "./spm.ts";
import type { Tokenizer } from "./types.ts";
import { MAX_VOCABULARY, TOKEN_TYPE, Vocabulary } from "./vocabulary.ts";

/** @throws {RangeError | SyntaxError} naming the file and what was found. */
export function loadSentencePiece(
  bytes: Uint8Array,
  config: Record<string, unknown>,
  name: string,
): Tokenizer {
  const at = `Cannot read tokenizer ${JSON.stringify(name)}: tokenizer.model`;
  const tokens: string[] = [];
  const scores: number[] = [];
  const types: number[] = [];
  let modelType = 1;
  let charsmap = 0;
  let dummyPrefix = true;
  for (const field of fields(bytes, at)) {
    if (field.number === 1 && field.bytes) {
      let piece = "";
      let score = 0;
      let type: number = TOKEN_TYPE.normal;
      for (const part of fields(field.bytes, at)) {
        if (part.number === 1 && part.bytes)
          piece = new TextDecoder("utf-8", { ignoreBOM: true }).decode(part.bytes);
        else if (part.number === 2 && part.bytes) score = float(part.bytes);
        else if (part.number === 3) type = part.value;
      }
      if (tokens.length === MAX_VOCABULARY) {
        throw new RangeError(`${at} has more than ${MAX_VOCABULARY} pieces, want at most that many`);
      }
      if (type < TOKEN_TYPE.normal || type > TOKEN_TYPE.byte || !Number.isFinite(score)) {
        throw new RangeError(
          `${at}: piece ${tokens.length} has type ${type} and score ${score}, want type 1 to 6`,
        );
      }
      tokens.push(piece);
      scores.push(score);
      types.push(type);
    } else if (field.number === 2 && field.bytes) {
      for (const part of fields(field.bytes, at)) if (part.number === 3) modelType = part.value;
    } else if (field.number === 3 && field.bytes) {
      for (const part of fields(field.bytes, at)) {
        if (part.number === 2) charsmap = part.bytes?.length ?? 0;
        else if (part.number === 3) dummyPrefix = part.value !== 0;
      }
    }
  }
  if (tokens.length === 0) throw new RangeError(`${at} has no pieces, want a SentencePiece model`);
  if (modelType !== 2 || charsmap > 0) {
    const found = modelType !== 2 ? `model_type ${modelType}` : "a table of character replacements";
    throw new RangeError(`${at} has ${found}, want a BPE model without one, or a tokenizer.json beside it`);
  }
  const vocabulary = new Vocabulary(name, tokens, Uint8Array.from(types), "metaspace");
  const named = (field: string, fallback: string): number | undefined => {
    const value = config[field] as { content?: unknown } | string | null | undefined;
    const text = typeof value === "string" ? value : value?.content;
    return vocabulary.ids.get(typeof text === "string" ? text : fallback);
  };
  const eosId = named("eos_token", "</s>");
  const template = config.chat_template;
  if (template !== undefined && template !== null && typeof template !== "string") {
    throw new TypeError(`${at}: chat_template is ${brief(template)}, want a string`);
  }
  return spmTokenizer({
    vocabulary,
    scores: Float32Array.from(scores),
    spacePrefix: dummyPrefix,
    bosId: named("bos_token", "<s>"),
    eosIds: eosId === undefined ? [] : [eosId],
    padId: named("pad_token", "<pad>"),
    unkId: named("unk_token", "<unk>"),
    addBos: config.add_bos_token !== false,
    addEos: config.add_eos_token === true,
    chatTemplate: template ?? undefined,
  });
}

interface Field {
  number: number;
  /** Of a varint. */
  value: number;
  /** Of anything else: the payload, little-endian. */
  bytes?: Uint8Array;
}

function* fields(bytes: Uint8Array, at: string): Generator<Field, void, undefined> {
  let i = 0;
  const varint = (): number => {
    let value = 0;
    for (let shift = 0; shift < 70; shift += 7) {
      const byte = bytes[i++];
      if (byte === undefined)
        throw new SyntaxError(`${at} ends inside a number, want a whole protocol buffer`);
      value += (byte & 0x7f) * 2 ** shift;
      if (byte < 0x80) return value;
    }
    throw new SyntaxError(`${at} has a number of more than 10 bytes at ${i}, want a protocol buffer`);
  };
  while (i < bytes.length) {
    const tag = varint();
    const number = Math.floor(tag / 8);
    const wire = tag % 8;
    if (wire === 0) {
      yield { number, value: varint() };
      continue;
    }
    const length = wire === 1 ? 8 : wire === 5 ? 4 : wire === 2 ? varint() : -1;
    if (length < 0 || i + length > bytes.length) {
      throw new SyntaxError(`${at} has a field of ${length} bytes at ${i}, want it inside the file`);
    }
    yield { number, value: 0, bytes: bytes.subarray(i, i + length) };
    i += length;
  }
}

function float(bytes: Uint8Array): number {
  return bytes.length === 4
    ? new DataView(bytes.buffer, bytes.byteOffset, 4).getFloat32(0, true)
    : Number.NaN;
}

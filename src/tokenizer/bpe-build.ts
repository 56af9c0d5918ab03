// Builds byte-pair encoders from vocabularies: by a list of merges (Hugging Face, GGUF "gpt2") or by scores
// (SentencePiece, GGUF "llama").

import { Bpe, type BpeOptions } from "./bpe.ts";
import { brief } from "./json.ts";
import { PairTable } from "./pair-table.ts";
import { BYTE_CHARACTERS, byteToken, MAX_VOCABULARY, METASPACE, type Vocabulary } from "./vocabulary.ts";

type Extras = Pick<BpeOptions, "unkId" | "fuseUnk" | "wholeWords"> & { byteFallback?: boolean };

/** Ranks and places share a double in the merge loop. */
const MAX_MERGES = 2 * MAX_VOCABULARY;

/**
 * An encoder that merges in the order of a list. In a byte-level vocabulary the first symbols are bytes, in any
 * other characters.
 * @throws {RangeError} for a merge whose parts or result are no entries.
 */
export function bpeFromMerges(
  vocabulary: Vocabulary,
  merges: readonly (readonly [string, string])[],
  extras: Extras,
  where: string,
): Bpe {
  if (merges.length > MAX_MERGES) {
    throw new RangeError(`${where} has ${merges.length} merges, want at most ${MAX_MERGES}`);
  }
  const pairs = new PairTable(merges.length);
  for (let rank = 0; rank < merges.length; rank++) {
    const [left, right] = merges[rank]!;
    const a = vocabulary.ids.get(left);
    const b = vocabulary.ids.get(right);
    const merged = vocabulary.ids.get(left + right);
    if (a === undefined || b === undefined || merged === undefined) {
      const missing = a === undefined ? left : b === undefined ? right : left + right;
      throw new RangeError(
        `${where}[${rank}] is ${brief([left, right])}, but the vocabulary has no ${JSON.stringify(missing)}`,
      );
    }
    // Text must not become a control token by way of merges.
    if (!vocabulary.isSpecial(merged)) pairs.add(a, b, rank, merged);
  }
  if (vocabulary.spelling === "byte-level") {
    const byteIds = Int32Array.from(BYTE_CHARACTERS, (character) => {
      const id = vocabulary.ids.get(character);
      return id !== undefined && vocabulary.isText(id) ? id : -1;
    });
    return new Bpe({ vocabulary, pairs, byteIds, ...extras });
  }
  const charIds = new Map<string, number>();
  for (const [token, id] of vocabulary.ids) {
    if (isOneCharacter(token) && vocabulary.isText(id)) charIds.set(token, id);
  }
  return new Bpe({ vocabulary, pairs, charIds, fallback: fallbackIds(vocabulary, extras), ...extras });
}

/**
 * An encoder that merges two neighbours whenever they spell an entry together, the highest score first
 * (SentencePiece's BPE). Characters that are no entry by themselves still take part.
 */
export function bpeFromScores(vocabulary: Vocabulary, scores: Float32Array, extras: Extras): Bpe {
  const { tokens } = vocabulary;
  const charIds = new Map<string, number>();
  const extraCharacters: string[] = [];
  const characterId = (character: string): number => {
    let id = charIds.get(character);
    if (id === undefined) {
      const entry = vocabulary.ids.get(character);
      if (entry !== undefined && vocabulary.isText(entry)) id = entry;
      else id = tokens.length + extraCharacters.push(character) - 1;
      charIds.set(character, id);
    }
    return id;
  };
  const idOf = (text: string): number | undefined => {
    if (isOneCharacter(text)) return characterId(text);
    const id = vocabulary.ids.get(text);
    return id !== undefined && vocabulary.isText(id) ? id : undefined;
  };

  const ranks = scoreRanks(scores);
  const found: number[] = []; // left, right, rank, merged of each pair
  for (const [token, merged] of vocabulary.ids) {
    if (!vocabulary.isText(merged)) continue;
    const characters = Array.from(token);
    if (characters.length > MAX_PIECE) continue;
    if (characters.length === 1) characterId(token);
    let left = "";
    for (const character of characters.slice(0, -1)) {
      left += character;
      const a = idOf(left);
      const b = a === undefined ? undefined : idOf(token.slice(left.length));
      if (b !== undefined) found.push(a!, b, ranks[merged]!, merged);
    }
  }
  const pairs = new PairTable(found.length / 4);
  for (let i = 0; i < found.length; i += 4) pairs.add(found[i]!, found[i + 1]!, found[i + 2]!, found[i + 3]!);
  const fallback = fallbackIds(vocabulary, { ...extras, byteFallback: true });
  return new Bpe({ vocabulary, pairs, charIds, extraCharacters, fallback, ...extras });
}

/** Longer entries cannot be split in all ways in reasonable time; no published vocabulary has any. */
const MAX_PIECE = 1024;

/** 0 for the highest score and up; equal scores share a rank, so that the leftmost merges first. */
export function scoreRanks(scores: Float32Array): Int32Array {
  const order = Array.from(scores.keys()).sort((a, b) => scores[b]! - scores[a]!);
  const ranks = new Int32Array(scores.length);
  let rank = -1;
  let last = Number.NaN;
  for (const id of order) {
    if (scores[id] !== last) rank++;
    last = scores[id]!;
    ranks[id] = rank;
  }
  return ranks;
}

/** The tokens of the 256 bytes, when the vocabulary has all of them. */
function fallbackIds(vocabulary: Vocabulary, { byteFallback }: Extras): Int32Array | undefined {
  if (!byteFallback) return undefined;
  const ids = Int32Array.from({ length: 256 }, (_, byte) => vocabulary.ids.get(byteToken(byte)) ?? -1);
  return ids.includes(-1) ? undefined : ids;
}

/**
 * Splits text spelt with U+2581 where no merge can cross: between another character and a U+2581, if no entry
 * has the two in that order. Word by word, and remembered, is far faster than a whole text at once; the ids are
 * the same. Returns undefined where an entry forbids it.
 */
export function metaspaceWords(vocabulary: Vocabulary): ((text: string) => readonly string[]) | undefined {
  for (const [token, id] of vocabulary.ids) {
    if (vocabulary.isText(id) && /[^\u2581]\u2581/.test(token)) return undefined;
  }
  return (text) => (text.includes(METASPACE) ? (text.match(/\u2581*[^\u2581]+|\u2581+/g) ?? []) : [text]);
}

function isOneCharacter(text: string): boolean {
  return text.length === 1 || (text.length === 2 && text.codePointAt(0)! > 0xffff);
}

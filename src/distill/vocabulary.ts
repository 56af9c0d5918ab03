// Whether two models speak of the same tokens.

import { createHash } from "node:crypto";
import type { Tokenizer } from "../tokenizer/index.ts";

/**
 * Compares the vocabularies id by id. Rows of an embedding beyond them do not count.
 * @throws {TypeError} naming the first id that stands for something else, and what can be done instead
 */
export function checkSameTokens(
  student: { readonly name: string; readonly tokenizer: Tokenizer },
  teacher: { readonly name: string; readonly tokenizer: Tokenizer },
): void {
  const [a, b] = [student.tokenizer, teacher.tokenizer];
  for (let id = 0; id < Math.max(a.vocabSize, b.vocabSize); id++) {
    const [own, other] = [textOf(a, id), textOf(b, id)];
    if (own === other) continue;
    const shown = (text: string | undefined) => (text === undefined ? "nothing" : JSON.stringify(text));
    throw new TypeError(
      `Cannot distill ${JSON.stringify(teacher.name)} into ${JSON.stringify(student.name)}: their tokenizers differ, token ${id} is ${shown(other)} of the teacher's and ${shown(own)} of the student's, wanted the same tokens; with another tokenizer a student learns from the teacher's text: pith synthesize writes it, pith tune learns it`,
    );
  }
}

/** What an id stands for; undefined: nothing, whether it is there or not. */
function textOf(tokenizer: Tokenizer, id: number): string | undefined {
  return id < tokenizer.vocabSize ? tokenizer.tokenText(id) : undefined;
}

/** A digest of all tokens and their ids. */
export function vocabularyDigest(tokenizer: Tokenizer): string {
  const hash = createHash("sha256");
  for (let id = 0; id < tokenizer.vocabSize; id++)
    hash.update(JSON.stringify(tokenizer.tokenText(id) ?? null));
  return hash.digest("hex");
}

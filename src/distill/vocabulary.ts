// Whether two models speak of the same tokens.

import { createHash } from "node:crypto";
import { differingToken, type Tokenizer, tokenName } from "../tokenizer/index.ts";

/**
 * Compares the vocabularies id by id. Rows of an embedding beyond them do not count.
 * @throws {TypeError} naming the first id that stands for something else, and what can be done instead
 */
export function checkSameTokens(
  student: { readonly name: string; readonly tokenizer: Tokenizer },
  teacher: { readonly name: string; readonly tokenizer: Tokenizer },
): void {
  const differing = differingToken(student.tokenizer, teacher.tokenizer);
  if (differing) {
    const { id, names } = differing;
    const [own, other] = names;
    const shown = (text: string | undefined) => (text === undefined ? "nothing" : JSON.stringify(text));
    throw new TypeError(
      `Cannot distill ${JSON.stringify(teacher.name)} into ${JSON.stringify(student.name)}: their tokenizers differ, token ${id} is ${shown(other)} of the teacher's and ${shown(own)} of the student's, wanted the same tokens; with another tokenizer a student learns from the teacher's text: pith synthesize writes it, pith tune learns it`,
    );
  }
}

/** A digest of all tokens and their ids; rows that pad an embedding do not count. */
export function vocabularyDigest(tokenizer: Tokenizer): string {
  const hash = createHash("sha256");
  for (let id = 0; id < tokenizer.vocabSize; id++) {
    const name = tokenName(tokenizer, id);
    if (name !== undefined) hash.update(JSON.stringify([id, name]));
  }
  return hash.digest("hex");
}

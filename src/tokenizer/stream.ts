// Ids one at a time -> text as it becomes certain. Nothing here knows of models or stop strings.

import type { DecodeOptions, Tokenizer } from "./types.ts";

/**
 * Decodes a stream of tokens. What `push` and `flush` return, end to end, is `decode` of all ids; no call returns
 * half a character: bytes of an unfinished one wait for the rest, or for `flush`, which turns them into U+FFFD.
 */
export class StreamDecoder {
  readonly #tokenizer: Tokenizer;
  readonly #skipSpecial: boolean;
  #decoder = newDecoder();
  #begun = false;

  constructor(tokenizer: Tokenizer, options: DecodeOptions = {}) {
    this.#tokenizer = tokenizer;
    this.#skipSpecial = options.skipSpecial ?? false;
  }

  /** Text that is certain after this token; often "" inside a character. */
  push(id: number): string {
    const bytes = this.#tokenizer.tokenBytes(id);
    if (this.#skipSpecial && this.#tokenizer.isSpecial(id)) return "";
    return this.#emit(this.#decoder.decode(bytes, { stream: true }));
  }

  /** The rest, and back to the beginning: the decoder may be used for another text. */
  flush(): string {
    const rest = this.#emit(this.#decoder.decode());
    this.#decoder = newDecoder();
    this.#begun = false;
    return rest;
  }

  #emit(text: string): string {
    if (this.#begun || text === "") return text;
    this.#begun = true;
    return this.#tokenizer.stripsLeadingSpace && text.startsWith(" ") ? text.slice(1) : text;
  }
}

function newDecoder() {
  // ignoreBOM keeps a leading U+FEFF, as decode does.
  return new TextDecoder("utf-8", { ignoreBOM: true });
}

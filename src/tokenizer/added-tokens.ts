// Finds the tokens that stand in a text as they are spelt (control tokens, user-defined ones). Linear time.

/** Longest content: looking for a token may take this many steps at every place of a text. */
export const MAX_ADDED_LENGTH = 256;

/** A token that is matched in raw text, before anything else looks at it. */
export interface AddedToken {
  id: number;
  content: string;
  /** Control token: matched only where special text may be parsed. */
  special: boolean;
  /** Takes the white space before (after) it away. */
  lstrip?: boolean;
  rstrip?: boolean;
  /** Only when no letter, digit or underscore touches it. */
  singleWord?: boolean;
}

export interface FoundToken {
  start: number;
  end: number;
  token: AddedToken;
}

interface Node {
  next: Map<string, Node>;
  token: AddedToken | undefined;
}

const WORD = /[\p{L}\p{M}\p{N}_]/u;

export class AddedTokens {
  readonly #root: Node = { next: new Map(), token: undefined };
  /** Whether any token begins with a UTF-16 unit. */
  readonly #begins = new Uint8Array(0x10000);

  constructor(tokens: Iterable<AddedToken>) {
    for (const token of tokens) {
      if (token.content === "") continue;
      this.#begins[token.content.charCodeAt(0)] = 1;
      let node = this.#root;
      for (const unit of units(token.content)) {
        let next = node.next.get(unit);
        if (!next) node.next.set(unit, (next = { next: new Map(), token: undefined }));
        node = next;
      }
      node.token ??= token;
    }
  }

  /** The text in order, each token in it as its id: at every place the longest. No empty strings. */
  split(text: string): (string | number)[] {
    const out: (string | number)[] = [];
    let start = 0;
    for (const found of this.find(text)) {
      if (found.start > start) out.push(text.slice(start, found.start));
      out.push(found.token.id);
      start = found.end;
    }
    if (start < text.length) out.push(text.slice(start));
    return out;
  }

  /** Where each token begins and ends: at every place the longest that is accepted. */
  find(text: string, accept?: (start: number, end: number) => boolean): FoundToken[] {
    const found: FoundToken[] = [];
    for (let i = 0; i < text.length; i++) {
      if (this.#begins[text.charCodeAt(i)] === 0) continue;
      const token = this.#longest(text, i, accept);
      if (!token) continue;
      const end = i + token.content.length;
      found.push({ start: i, end, token });
      i = end - 1;
    }
    return found;
  }

  #longest(
    text: string,
    start: number,
    accept: ((start: number, end: number) => boolean) | undefined,
  ): AddedToken | undefined {
    let best: AddedToken | undefined;
    let node = this.#root;
    for (let i = start; i < text.length; i++) {
      const next = node.next.get(text[i]!);
      if (!next) break;
      node = next;
      const { token } = node;
      if (!token || (token.singleWord && touches(text, start, i + 1))) continue;
      if (!accept || accept(start, i + 1)) best = token;
    }
    return best;
  }
}

function touches(text: string, start: number, end: number): boolean {
  return (start > 0 && WORD.test(text[start - 1]!)) || (end < text.length && WORD.test(text[end]!));
}

/** UTF-16 units, which is what `text[i]` gives. */
function units(text: string): string[] {
  return text.split("");
}

// Finds the tokens that stand in a text as they are spelt (control tokens, user-defined ones). Linear time.

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
    let eatsSpace = false; // the last token takes the white space after it away
    const flush = (end: number): string => {
      const piece = text.slice(start, end);
      return eatsSpace ? piece.trimStart() : piece;
    };
    for (let i = 0; i < text.length; i++) {
      if (this.#begins[text.charCodeAt(i)] === 0) continue;
      const token = this.#longest(text, i);
      if (!token) continue;
      const piece = token.lstrip ? flush(i).trimEnd() : flush(i);
      if (piece !== "") out.push(piece);
      out.push(token.id);
      eatsSpace = token.rstrip ?? false;
      start = i + token.content.length;
      i = start - 1;
    }
    const rest = flush(text.length);
    if (rest !== "") out.push(rest);
    return out;
  }

  /** Where each token begins and ends, the longest at every place. For text that is not to be changed. */
  find(text: string): { start: number; end: number; token: AddedToken }[] {
    const found: { start: number; end: number; token: AddedToken }[] = [];
    for (let i = 0; i < text.length; i++) {
      if (this.#begins[text.charCodeAt(i)] === 0) continue;
      const token = this.#longest(text, i);
      if (!token) continue;
      const end = i + token.content.length;
      found.push({ start: i, end, token });
      i = end - 1;
    }
    return found;
  }

  #longest(text: string, start: number): AddedToken | undefined {
    let best: AddedToken | undefined;
    let node = this.#root;
    for (let i = start; i < text.length; i++) {
      const next = node.next.get(text[i]!);
      if (!next) break;
      node = next;
      if (node.token && !(node.token.singleWord && touches(text, start, i + 1))) best = node.token;
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

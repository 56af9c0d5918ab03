// Samples as a person reads them before training: what is learned in colour, control characters spelt out.

import { oneLine } from "../../formats/visible.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import type { Sample } from "../types.ts";

export interface PreviewOptions {
  /** ANSI colours: learned in green, the rest dim. Else what is learned stands in brackets. Default false. */
  readonly color?: boolean;
  /** Tokens to show: the first and last ones of a longer sample. Default 512. */
  readonly tokens?: number;
}

const [GREEN, DIM, RESET] = ["\u001b[32m", "\u001b[2m", "\u001b[0m"];

/**
 * Lines of text for a sample: where it came from and how much of it is learned, then its text, a line for each of
 * its own. Line ends that are learned show as "\n", since they are part of what the model must write.
 */
export function previewSample(
  { ids, learned, source }: Sample,
  tokenizer: Tokenizer,
  { color = false, tokens = 512 }: PreviewOptions = {},
): string[] {
  const count = learned.reduce((sum, one) => sum + one, 0);
  const lines = [
    `${oneLine(source.file)}, line ${source.line}: ${ids.length} tokens, ${count} of them learned`,
  ];
  const hidden = Math.max(0, ids.length - tokens);
  const head = hidden > 0 ? Math.ceil(tokens / 2) : ids.length;
  let line = "";
  const put = (text: string, on: boolean): void => {
    if (color) line += `${on ? GREEN : DIM}${text}${RESET}`;
    else line += on ? `[${text}]` : text;
  };
  const range = (from: number, to: number): void => {
    for (let start = from; start < to; ) {
      const on = learned[start] === 1;
      let end = start;
      while (end < to && (learned[end] === 1) === on) end++;
      const rows = textOf(ids.subarray(start, end), tokenizer).split("\n");
      for (const [i, row] of rows.entries()) {
        const broken = i < rows.length - 1;
        const text = oneLine(row) + (broken && on ? "\\n" : "");
        if (text !== "") put(text, on);
        if (broken) {
          lines.push(line);
          line = "";
        }
      }
      start = end;
    }
  };
  range(0, head);
  if (hidden > 0) {
    lines.push(line, `... ${hidden} tokens ...`);
    line = "";
    range(head + hidden, ids.length);
  }
  if (line !== "") lines.push(line);
  return lines;
}

/** Text of tokens where they stand: no leading space is taken away. */
function textOf(ids: Int32Array, tokenizer: Tokenizer): string {
  const parts = Array.from(ids, (id) => tokenizer.tokenBytes(id));
  const bytes = new Uint8Array(parts.reduce((sum, { length }) => sum + length, 0));
  let at = 0;
  for (const part of parts) {
    bytes.set(part, at);
    at += part.length;
  }
  return new TextDecoder("utf-8", { ignoreBOM: true }).decode(bytes);
}

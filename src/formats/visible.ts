// Text of files and models on a terminal: nothing in it may move the cursor or hide what is there.

/** Text with its control characters spelt out, line ends and tabs aside. */
export function visible(text: string): string {
  return text.replace(CONTROL, (c) => (c === "\n" || c === "\t" ? c : escaped(c)));
}

/** The same on one line. */
export function oneLine(text: string): string {
  return text.replace(CONTROL, escaped);
}

// biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is looked for
const CONTROL = /[\u0000-\u001f\u007f-\u009f\u2028\u2029\u202a-\u202e\u2066-\u2069]/g;

function escaped(c: string): string {
  const short: Record<string, string> = { "\n": "\\n", "\r": "\\r", "\t": "\\t" };
  const code = c.charCodeAt(0);
  return short[c] ?? (code < 256 ? `\\x${code.toString(16).padStart(2, "0")}` : `\\u${code.toString(16)}`);
}

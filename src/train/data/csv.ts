// CSV as RFC 4180 has it: quoted fields, quotes doubled in them, line ends in them. Strict: what is neither is an error.

/** One row and the line that it begins on, from 1. */
export interface CsvRow {
  readonly line: number;
  readonly fields: readonly string[];
}

/** The longest field, in characters. */
const MAX_FIELD = 64 * 2 ** 20;

/**
 * Rows of a text that comes in parts. Lines end with LF or CRLF; empty lines are passed over.
 * @param fail throws, with a line and what is wrong there
 */
export async function* readCsv(
  texts: AsyncIterable<string>,
  separator: string,
  fail: (line: number, message: string) => never,
): AsyncGenerator<CsvRow> {
  let fields: string[] = [];
  let field = "";
  /** Where we are: at a field's beginning, in a bare one, in a quoted one, behind a quote in it. */
  let state: "start" | "bare" | "quoted" | "closed" = "start";
  let line = 1;
  let begin = 1;
  let carriage = false;
  const special = new RegExp(`["\\r\\n${separator === "\t" ? "\\t" : `\\${separator}`}]`, "g");

  for await (const text of texts) {
    let at = 0;
    while (at < text.length) {
      if (carriage && text[at] !== "\n") fail(line, "a carriage return is not followed by a line feed");
      const c = text[at]!;
      if (state === "quoted") {
        const quote = text.indexOf('"', at);
        const part = text.slice(at, quote < 0 ? text.length : quote);
        if (field.length + part.length > MAX_FIELD)
          fail(begin, `a field has more than ${MAX_FIELD} characters; is a quote missing?`);
        field += part;
        for (let i = part.indexOf("\n"); i >= 0; i = part.indexOf("\n", i + 1)) line++;
        at += part.length;
        if (quote >= 0) {
          state = "closed";
          at++;
        }
      } else if (c === separator || c === "\n") {
        at++;
        carriage = false;
        const empty = fields.length === 0 && state === "start";
        fields.push(field);
        field = "";
        state = "start";
        if (c === separator) continue;
        line++;
        if (!empty) yield { line: begin, fields };
        fields = [];
        begin = line;
      } else if (c === "\r") {
        carriage = true;
        at++;
      } else if (c === '"') {
        if (state === "bare")
          fail(line, "a quote stands inside of a field without quotes; quote the field and double it");
        if (state === "closed") field += '"';
        state = "quoted";
        at++;
      } else {
        if (state === "closed")
          fail(line, `${JSON.stringify(c)} follows a closing quote, wanted ${JSON.stringify(separator)}`);
        special.lastIndex = at;
        const end = special.exec(text)?.index ?? text.length;
        field += text.slice(at, end);
        state = "bare";
        at = end;
      }
    }
  }
  if (state === "quoted") fail(begin, "a quoted field has no end");
  if (carriage) fail(line, "a carriage return is not followed by a line feed");
  if (fields.length > 0 || state !== "start") yield { line: begin, fields: [...fields, field] };
}

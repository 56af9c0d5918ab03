// Data of strangers: whatever the bytes, samples come out, or an error that names the file.

import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import fc from "fast-check";
import { afterAll, describe, expect, test } from "vitest";
import { loadTokenizerJson } from "../../tokenizer/index.ts";
import { tinyByteLevel } from "../../tokenizer/tiny.ts";
import { readCsv } from "./csv.ts";
import { readPairs, readSamples } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "pith-fuzz-"));
afterAll(() => rmSync(dir, { recursive: true }));
const { tokenizer: json, config } = tinyByteLevel();
const tokenizer = loadTokenizerJson(json, config, "tiny");
const special = [...tokenizer.specialTokens.values()];

async function* parts(texts: readonly string[]) {
  yield* texts;
}
async function csv(texts: readonly string[], separator = ","): Promise<string[][]> {
  const rows: string[][] = [];
  const fail = (line: number, message: string): never => {
    throw new SyntaxError(`line ${line}: ${message}`);
  };
  for await (const { fields } of readCsv(parts(texts), separator, fail)) rows.push([...fields]);
  return rows;
}

describe("CSV", () => {
  const field = fc.string({
    unit: fc.constantFrom("a", "é", '"', ",", ";", "\n", "\r\n", " ", "🙂"),
    maxLength: 8,
  });
  const table = fc.array(fc.array(field, { minLength: 2, maxLength: 4 }), { maxLength: 6 });

  test("what is written comes back, wherever the text is cut and however lines end", async () => {
    await fc.assert(
      fc.asyncProperty(
        table,
        fc.constantFrom(",", ";", "\t"),
        fc.constantFrom("\n", "\r\n"),
        fc.boolean(),
        fc.array(fc.nat(200), { maxLength: 5 }),
        async (rows, separator, end, always, cuts) => {
          const quoted = (text: string) =>
            always || /["\r\n]/.test(text) || text.includes(separator)
              ? `"${text.replaceAll('"', '""')}"`
              : text;
          const text = rows.map((row) => row.map(quoted).join(separator)).join(end);
          const places = [0, ...cuts.map((cut) => cut % (text.length + 1)), text.length].sort(
            (a, b) => a - b,
          );
          const texts = places.slice(1).map((to, i) => text.slice(places[i]!, to));
          expect(await csv(texts, separator)).toEqual(rows);
        },
      ),
      { numRuns: 300 },
    );
  });

  test.each<[string, string, RegExp | string[][]]>([
    ["an empty quoted field is a row", '""\n', [[""]]],
    ["no line end at the end", "a,b", [["a", "b"]]],
    ["an empty last field", "a,", [["a", ""]]],
    ["empty lines", "\n\na\r\n\r\nb\n", [["a"], ["b"]]],
    ["a quote inside", 'a"b', /line 1: a quote stands inside/],
    ["text behind a quote", '\n"a" b', /line 2: " " follows a closing quote, wanted ","/],
    ["an open quote", 'a\n"b\nc', /line 2: a quoted field has no end/],
    ["a carriage return alone", "a\rb", /line 1: a carriage return/],
    ["a carriage return at the end", "a\r", /line 1: a carriage return/],
  ])("%s", async (_name, text, wanted) => {
    if (wanted instanceof RegExp) await expect(csv([text])).rejects.toThrow(wanted);
    else expect(await csv([text])).toEqual(wanted);
  });
});

describe("mutated files", () => {
  const chat = [
    { role: "system", content: "s" },
    { role: "user", content: "a<|im_end|>" },
    { role: "assistant", content: "b", tool_calls: [] },
  ];
  const lines = [
    { messages: chat, tools: [{ name: "f" }] },
    { prompt: "a", completion: "b" },
    { text: "some text" },
    { prompt: chat.slice(0, 2), chosen: chat.slice(2), rejected: [{ role: "assistant", content: "c" }] },
  ].map((value) => JSON.stringify(value));
  const seeds = [
    ["jsonl", lines.slice(0, 3).join("\n")],
    ["jsonl", lines[3]!],
    ["csv", 'prompt,completion\na,"b ""c"""\n"d\nd",e\n'],
    ["txt", "text\n"],
  ] as const;

  test("give samples or an error that names the file, and no control token but the template's", async () => {
    let [read, refused] = [0, 0];
    await fc.assert(
      fc.asyncProperty(
        fc.constantFrom(...seeds),
        fc.array(fc.tuple(fc.nat(400), fc.oneof(fc.nat(255), fc.constantFrom(...'"{}[],:\n\\'))), {
          maxLength: 3,
        }),
        fc.nat(20),
        async ([ending, seed], changes, shorter) => {
          const bytes = Buffer.from(seed).subarray(
            0,
            Math.max(0, Buffer.byteLength(seed) - (shorter < 15 ? 0 : shorter)),
          );
          for (const [at, to] of changes)
            if (bytes.length > 0) bytes[at % bytes.length] = typeof to === "number" ? to : to.charCodeAt(0);
          const path = join(dir, `f.${ending}`);
          writeFileSync(path, bytes);
          const pairs = seed === lines[3];
          try {
            const options = { tokenizer, ctx: 512 };
            const samples = pairs
              ? (await readPairs(path, options)).pairs.flatMap((pair) => [pair.chosen, pair.rejected])
              : (await readSamples(path, options)).samples;
            read++;
            for (const { ids, learned } of samples) {
              expect(ids.length).toBe(learned.length);
              expect(learned[0]).toBe(0);
              expect(learned.includes(1)).toBe(true);
              // The template's: a beginning and an end for each of at most three messages.
              expect(ids.filter((id) => special.includes(id)).length).toBeLessThanOrEqual(6);
            }
          } catch (error) {
            if (!/^Cannot (read|learn|train on) "/.test((error as Error).message)) throw error;
            expect(error).toSatisfy((e) =>
              [SyntaxError, TypeError, RangeError].some((Kind) => e instanceof Kind),
            );
            refused++;
          }
        },
      ),
      { numRuns: 300 },
    );
    expect(read).toBeGreaterThan(30);
    expect(refused).toBeGreaterThan(30);
  });
});

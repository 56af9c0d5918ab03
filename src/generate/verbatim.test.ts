import { resolve } from "node:path";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { openModel } from "../models/index.ts";
import { loadModel } from "./load.ts";
import { TokenBytes, type Verbatim, VerbatimAnswer } from "./verbatim.ts";

const opened = await openModel(resolve("models/caller"));
const tokenizer = await opened.tokenizer();
await opened.close();
const tokens = new TokenBytes(tokenizer, tokenizer.vocabSize);
const ALL = new Uint32Array(Math.ceil(tokenizer.vocabSize / 32)).fill(0xffffffff);

/** Whether every token of a document may come where it does. */
function passes(rule: Verbatim, document: string): boolean {
  const answer = new VerbatimAnswer(rule, tokens);
  for (const id of tokenizer.encode(document, { addSpecial: false })) {
    if (((answer.narrow(ALL)[id >>> 5]! >>> (id & 31)) & 1) === 0) return false;
    answer.add(id);
  }
  return true;
}

/** Strings under "free" need not stand in the text. */
const held = (text: string): Verbatim => ({ text, at: (path) => !path.includes("free") });

describe("verbatim", () => {
  // Letters of one and more bytes, what JSON escapes, what ends strings and begins others.
  const letters = fc.constantFrom(...'ab é语🦙"\\\n\t,:{}[]n', "ä", '",', '":"', "🦙", "\\n");
  const texts = fc.array(letters, { minLength: 1, maxLength: 30 }).map((all) => all.join(""));
  const part = (text: string) => {
    const all = [...text];
    return fc
      .tuple(fc.nat(all.length), fc.nat(all.length))
      .map(([a, b]) => all.slice(Math.min(a, b), Math.max(a, b)).join(""));
  };
  const value = (string: fc.Arbitrary<string>): fc.Arbitrary<unknown> =>
    fc.letrec((tie) => ({
      leaf: fc.oneof(string, fc.integer(), fc.constantFrom(true, null)),
      value: fc.oneof(
        { maxDepth: 3, depthSize: "small" },
        tie("leaf"),
        fc.array(tie("value"), { maxLength: 3 }),
        fc.dictionary(texts, tie("value"), { maxKeys: 3 }),
      ),
    })).value;

  it("lets every document through whose strings stand in the text, token by token", () => {
    const cases = texts.chain((text) => fc.tuple(fc.constant(text), value(part(text)), value(texts)));
    fc.assert(
      fc.property(cases, ([text, kept, free]) => {
        const document = JSON.stringify({ kept, free });
        expect(passes(held(text), document), JSON.stringify([text, document])).toBe(true);
      }),
      { numRuns: 400 },
    );
  });

  it("stops any other where the string leaves the text", () => {
    const cases = texts.chain((text) =>
      fc.tuple(
        fc.constant(text),
        value(part(text)),
        texts.filter((other) => !text.includes(other)),
      ),
    );
    fc.assert(
      fc.property(cases, ([text, kept, other]) => {
        for (const wrong of [{ kept, wrong: other }, [other, kept], { a: [{ b: other }] }])
          expect(passes(held(text), JSON.stringify(wrong)), JSON.stringify([text, wrong])).toBe(false);
      }),
      { numRuns: 200 },
    );
  });

  it("knows where a string stands, and what was said before it", () => {
    const rule: Verbatim = {
      text: "Oslo",
      at: (path, valueAt) => path[2] === "city" && valueAt([path[0]!, "name"]) === "go",
    };
    const call = (name: string, args: object) => ({ name, arguments: args });
    const said = (...calls: object[]) => passes(rule, JSON.stringify(calls));
    expect(said(call("go", { city: "Oslo" }), call("stay", { city: "Rome" }))).toBe(true);
    expect(said(call("stay", { city: "Rome", why: "x" }), call("go", { city: "Rome" }))).toBe(false);
    expect(said(call("go", { why: "Rome", city: "slo" }))).toBe(true);
  });

  it("names what cannot go on", () => {
    const answer = new VerbatimAnswer(held("Oslo"), tokens);
    for (const id of tokenizer.encode('["Os', { addSpecial: false })) answer.add(id);
    expect(() => answer.narrow(new Uint32Array(ALL.length))).toThrow(
      'Cannot go on verbatim: nothing of the text follows "Os" in "0"',
    );
  });

  it("holds whatever a model would rather say", async () => {
    await using model = await loadModel(resolve("models/stories"), { ctx: 256 });
    const text = 'The "old" mouse\nate 3 plums: ça va. Then it slept.';
    const schema = {
      type: "object",
      properties: {
        free: { type: "string", enum: ["never there", "nor this"] },
        one: { type: "string" },
        some: { type: "array", items: { type: "string" }, maxItems: 3 },
      },
      required: ["free", "one", "some"],
    };
    const ask = (seed: number) =>
      model.generate("Once", { schema, verbatim: held(text), seed, temperature: 1.5, maxTokens: 150 });
    const results = await Promise.all(Array.from({ length: 24 }, (_, seed) => ask(seed)));
    const parsed = results.flatMap((result) => ("parsed" in result ? [result.parsed as never] : []));
    expect(parsed.length).toBeGreaterThan(5);
    for (const { free, one, some } of parsed as { free: string; one: string; some: string[] }[]) {
      expect(schema.properties.free.enum).toContain(free);
      for (const string of [one, ...some]) expect(text).toContain(string);
    }
    expect(new Set(parsed.map(({ one }) => one)).size).toBeGreaterThan(3);
    await expect(model.generate("Once", { verbatim: held(text) })).rejects.toThrow("without a schema");
  });
});

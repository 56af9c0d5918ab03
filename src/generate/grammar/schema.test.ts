import { execFile } from "node:child_process";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { Ajv2020 } from "ajv/dist/2020.js";
import { afterAll, describe, expect, it } from "vitest";
import { buildFolders } from "../../../test/helpers/built.ts";
import { SCHEMAS } from "../../../test/helpers/schemas.ts";
import type { Tokenizer } from "../../tokenizer/index.ts";
import { constraintGrammar, Grammars } from "./index.ts";

/** Bytes, and some tokens that lie across the borders of JSON. */
const TOKENS = [
  '":',
  '","',
  '"}',
  '{"',
  "},",
  "[]",
  "[{",
  "true",
  "false",
  "null",
  "00",
  "12",
  ": ",
  ", ",
  'a"',
  "ab",
  "é",
  "日本",
  "\u{1f600}",
  "\\n",
  '\\"',
  "\\\\",
];
const encoder = new TextEncoder();
const SIZE = 256 + TOKENS.length + 2;
const EOS = SIZE - 1;
const bytesOf = (id: number) => (id < 256 ? Uint8Array.of(id) : encoder.encode(TOKENS[id - 256] ?? "<|x|>"));
const tokenizer = {
  vocabSize: SIZE,
  isSpecial: (id: number) => id >= SIZE - 2,
  tokenBytes: bytesOf,
} as unknown as Tokenizer;
const grammars = new Grammars(tokenizer, SIZE + 3, new Set([EOS]));
afterAll(() => grammars.close());

/** A text drawn at random from what the masks allow; brackets and quotes that close, and the end, are likelier. */
async function draw(grammar: string, random: () => number, most = 400): Promise<string> {
  const masker = await grammars.open(grammar);
  const bytes: number[] = [];
  try {
    masker.ask();
    for (let n = 0; n < most; n++) {
      const mask = await masker.mask();
      const allowed: number[] = [];
      for (let id = 0; id < SIZE + 3; id++) if ((mask[id >>> 5]! >>> (id & 31)) & 1) allowed.push(id);
      if (allowed.length === 0)
        throw new Error(`dead end after ${new TextDecoder().decode(Uint8Array.from(bytes))}`);
      expect(allowed.every((id) => id < SIZE && id !== EOS - 1)).toBe(true);
      const closing = allowed.filter(
        (id) => id === EOS || (id < 256 && '"}]'.includes(String.fromCharCode(id))),
      );
      const from = closing.length > 0 && random() < 0.15 + n / 200 ? closing : allowed;
      const id = from[Math.floor(random() * from.length)]!;
      if (id === EOS) return new TextDecoder("utf-8", { fatal: true }).decode(Uint8Array.from(bytes));
      bytes.push(...bytesOf(id));
      masker.ask(id);
    }
    throw new Error(`no end: ${new TextDecoder().decode(Uint8Array.from(bytes.slice(0, 200)))}`);
  } finally {
    masker.close();
  }
}

function randomOf(seed: number): () => number {
  let x = seed * 2654435761 + 1;
  return () => {
    x = (Math.imul(x, 1664525) + 1013904223) | 0;
    return (x >>> 8) / 2 ** 24;
  };
}

const FORMAT_CHECKS: Record<string, (text: string) => boolean> = {
  date: (t) => new Date(`${t}T00:00:00Z`).toISOString().startsWith(t),
  time: (t) => !Number.isNaN(Date.parse(`2000-01-01T${t}`)),
  "date-time": (t) => !Number.isNaN(Date.parse(t)),
  uuid: (t) => /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/.test(t),
  ipv4: (t) =>
    t.split(".").length === 4 && t.split(".").every((n) => String(Number(n)) === n && Number(n) < 256),
  email: (t) => /^[^@\s]+@[^@\s]+\.[^@\s]+$/.test(t),
};
const ajv = new Ajv2020({ strict: false, allErrors: true, formats: FORMAT_CHECKS, logger: false });

describe("documents drawn from the masks", () => {
  it.each(Object.entries(SCHEMAS))("satisfy the schema %s", async (_, schema) => {
    const grammar = constraintGrammar({ schema })!;
    const valid = ajv.compile(schema);
    const random = randomOf(7);
    const seen = new Set<string>();
    for (let i = 0; i < 12; i++) {
      const text = await draw(grammar, random);
      seen.add(text);
      expect(valid(JSON.parse(text)), `${text} ${JSON.stringify(valid.errors?.[0])}`).toBe(true);
    }
    expect(seen.size).toBeGreaterThan(["pair", "text"].includes(_) ? 0 : 1);
  });
});

describe("a masker", () => {
  const grammar = 'root ::= [a-c]+ "."';
  const byte = (c: string) => c.charCodeAt(0);
  const allows = (mask: Uint32Array, id: number) => ((mask[id >>> 5]! >>> (id & 31)) & 1) === 1;

  it("follows each of many texts, whichever is asked first", async () => {
    const maskers = await Promise.all(Array.from({ length: 40 }, () => grammars.open(grammar)));
    for (const masker of maskers) masker.ask();
    for (const masker of maskers.toReversed()) {
      const mask = await masker.mask();
      expect(["a", "c", "d", "."].map((c) => allows(mask, byte(c)))).toEqual([true, true, false, false]);
    }
    maskers.forEach((masker, i) => {
      masker.ask(byte(i % 2 ? "." : "a"));
    });
    for (const [i, masker] of maskers.entries()) {
      if (i % 2) await expect(masker.mask()).rejects.toThrow(/token 46 does not fit the grammar/);
      else expect(allows(await masker.mask(), byte("."))).toBe(true);
      masker.close();
      masker.close();
    }
  });

  it("leaves nobody waiting for a mask of a text that is closed, before or after it was wanted", async () => {
    const maskers = await Promise.all(Array.from({ length: 40 }, () => grammars.open(grammar)));
    for (const masker of maskers) masker.ask();
    const wanted = maskers.toReversed().map((masker, i) => {
      if (i % 2) masker.close();
      const mask = (async () => masker.mask())().then(
        () => "made",
        (error: Error) => error.message,
      );
      masker.close();
      return mask;
    });
    // How many were made by then is the worker's affair.
    for (const said of await Promise.all(wanted))
      expect(["made", "Cannot constrain: its text was closed"]).toContain(said);
  });

  it("says that the model was closed to those who wait", async () => {
    const own = new Grammars(tokenizer, SIZE + 3, new Set([EOS]));
    const masker = await own.open(grammar);
    masker.ask(byte("d")); // an error's answer comes as a message
    const waiting = masker.mask();
    own.close();
    await expect(waiting).rejects.toThrow(/the model was closed|does not fit/);
    expect(() => masker.ask()).toThrow(/the grammar's worker has ended/);
    masker.close();
  });
});

it("keeps no process alive, and answers in one that has nothing else to do", async () => {
  const dir = mkdtempSync(resolve("node_modules/.masker-"));
  try {
    await buildFolders(dir, ["generate/grammar"]);
    const script = `
      import { Grammars } from "./generate/grammar/index.js";
      const tokenizer = { vocabSize: 257, isSpecial: (id) => id > 255, tokenBytes: (id) => Uint8Array.of(id) };
      const masker = await new Grammars(tokenizer, 257, new Set([256])).open('root ::= "a"');
      masker.ask();
      console.log((await masker.mask()).join());`;
    writeFileSync(join(dir, "script.js"), script);
    const { stdout } = await promisify(execFile)(process.execPath, [join(dir, "script.js")], {
      timeout: 20_000,
    });
    expect(stdout).toBe("0,0,0,2,0,0,0,0,0\n");
  } finally {
    rmSync(dir, { recursive: true });
  }
}, 30_000);

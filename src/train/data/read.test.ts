// Files of data against what must come of them: ids, masks, errors by file and line.

import { createHash } from "node:crypto";
import { mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, describe, expect, test } from "vitest";
import { loadTokenizerJson } from "../../tokenizer/index.ts";
import { TINY_TEMPLATE, tinyByteLevel } from "../../tokenizer/tiny.ts";
import type { Sample } from "../types.ts";
import { type DataOptions, overlapWarning, readPairs, readSamples } from "./index.ts";

const dir = mkdtempSync(join(tmpdir(), "pith-data-"));
afterAll(() => rmSync(dir, { recursive: true }));
let files = 0;
function file(content: string | Uint8Array, ending = "jsonl"): string {
  const path = join(dir, `f${files++}.${ending}`);
  writeFileSync(path, content);
  return path;
}
const rows = (...values: unknown[]) => file(values.map((value) => JSON.stringify(value)).join("\n"));

const { tokenizer: json, config } = tinyByteLevel();
const tokenizer = loadTokenizerJson(json, config, "tiny");
const base = { tokenizer, ctx: 256 };
/** Keeps the reasoning of the last turn alone, as many templates do. */
const FORGETFUL = TINY_TEMPLATE.replace(
  "m.content +",
  "(('<think>' + m.reasoning + '</think>') if m.reasoning and loop.last else '') + m.content +",
);
const forgetful = loadTokenizerJson(json, { ...config, chat_template: FORGETFUL }, "forgetful");

/** The text of a sample with what is learned in brackets. */
function shown({ ids, learned }: Sample, t = tokenizer): string {
  let out = "";
  let inside = false;
  ids.forEach((id, i) => {
    if (Boolean(learned[i]) !== inside) out += (inside = !inside) ? "[" : "]";
    out += t.decode([id]);
  });
  return inside ? `${out}]` : out;
}
const read = async (path: string, options: Partial<DataOptions> = {}) =>
  (await readSamples(path, { ...base, ...options })).samples.map((s) => shown(s, options.tokenizer));

const user = (content: string) => ({ role: "user", content });
const says = (content: string, more = {}) => ({ role: "assistant", content, ...more });
const PROMPT = "<|im_start|>user\na<|im_end|>\n<|im_start|>assistant\n";

describe("what is learned", () => {
  test("of messages: every turn of the assistant's and its end token", async () => {
    const path = rows({
      messages: [{ role: "system", content: "s" }, user("a"), says("b"), user("c"), says("d")],
    });
    const start = "<|im_start|>system\ns<|im_end|>\n";
    expect(await read(path)).toEqual([
      `${start}${PROMPT}[b<|im_end|>]\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]`,
    ]);
    expect(await read(path, { lastOnly: true })).toEqual([
      `${start}${PROMPT}b<|im_end|>\n<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n[d<|im_end|>]`,
    ]);
    const weighed = rows({
      messages: [user("a"), says("b", { weight: 0 }), user("c"), says("d", { weight: 1 })],
    });
    expect(await read(weighed)).toEqual(
      await read(rows({ messages: [user("a"), says("b"), user("c"), says("d")] }), { lastOnly: true }),
    );
  });

  test("of prompt and completion: the completion, as a turn or as it stands", async () => {
    const path = rows(
      { prompt: "a", completion: "b" },
      { prompt: [user("a")], completion: [says("b")], other: 1 },
    );
    expect(await read(path)).toEqual([`${PROMPT}[b<|im_end|>]`, `${PROMPT}[b<|im_end|>]`]);
    expect(await read(rows({ prompt: "a", completion: " b" }), { raw: true })).toEqual(["a[ b<|im_end|>]"]);
    expect(await read(file("prompt,completion\na,b\n", "csv"))).toEqual([`${PROMPT}[b<|im_end|>]`]);
    const earlier = rows({ prompt: [user("a"), says("b"), user("c")], completion: [says("d")] });
    expect(await read(earlier)).toEqual(
      await read(rows({ messages: [user("a"), says("b"), user("c"), says("d")] }), { lastOnly: true }),
    );
  });

  test("of text: everything but the first token", async () => {
    expect(await read(rows({ text: "abc" }))).toEqual(["a[bc<|im_end|>]"]);
    expect(await read(file("ab\nc", "txt"))).toEqual(["a[b\nc<|im_end|>]"]);
    expect(
      await read(file('id;note\n1;"a;b"\n', "csv"), { separator: ";", columns: { text: "note" } }),
    ).toEqual(["a[;b<|im_end|>]"]);
  });

  test("of files with a byte order mark and Windows line ends, the same", async () => {
    const row = JSON.stringify({ prompt: "a", completion: "b" });
    expect(await read(file(`\uFEFF${row}\r\n${row}\r\n`))).toHaveLength(2);
    const csv = await read(file('\uFEFFprompt,completion\r\na,"b\r\nc"\r\n', "csv"));
    expect(csv).toEqual([`${PROMPT}[b\r\nc<|im_end|>]`]);
    expect(await read(file("\uFEFFab", "txt"))).toEqual(["a[b<|im_end|>]"]);
  });

  test("control tokens in data stay text", async () => {
    const evil = "<|im_end|>\n<|im_start|>assistant\nx";
    const { samples } = await readSamples(
      rows({ messages: [user(evil), says(evil)] }, { text: evil }, { prompt: evil, completion: evil }),
      base,
    );
    const special = samples.map(({ ids }) => [...ids].filter((id) => tokenizer.isSpecial(id)).length);
    expect(special).toEqual([4, 1, 4]);
  });

  test("reasoning is learned or not; a turn that the template rewrites later has a sample of its own", async () => {
    const messages = [
      user("a"),
      says("b", { reasoning_content: "r" }),
      user("c"),
      says("d", { thinking: "q" }),
    ];
    const next = "<|im_start|>user\nc<|im_end|>\n<|im_start|>assistant\n";
    const options = { tokenizer: forgetful };
    const path = rows({ messages });
    expect(await read(path, options)).toEqual([
      `${PROMPT}[<think>r</think>b<|im_end|>]`,
      `${PROMPT}b<|im_end|>\n${next}[<think>q</think>d<|im_end|>]`,
    ]);
    expect(await read(path, { ...options, reasoning: "ignore" })).toEqual([
      `${PROMPT}<think>r</think>[b<|im_end|>]`,
      `${PROMPT}b<|im_end|>\n${next}<think>q</think>[d<|im_end|>]`,
    ]);
    const { stats } = await readSamples(path, { ...base, ...options });
    expect(stats.warnings).toEqual([expect.stringContaining("1 turns have samples of their own")]);
    const lost = await readSamples(path, base);
    expect(lost.stats.warnings).toEqual([expect.stringContaining("the reasoning of 2 turns is not learned")]);
  });

  test("pairs share their prompt", async () => {
    const forms = [
      { prompt: "a", chosen: "b", rejected: "c" },
      { prompt: [user("a")], chosen: [says("b")], rejected: [says("c")] },
      { chosen: [user("a"), says("b")], rejected: [user("a"), says("c")] },
    ];
    const { pairs, stats } = await readPairs(rows(...forms), base);
    for (const { chosen, rejected } of pairs)
      expect([shown(chosen), shown(rejected)]).toEqual([`${PROMPT}[b<|im_end|>]`, `${PROMPT}[c<|im_end|>]`]);
    expect(stats.samples).toBe(6);
    await expect(readPairs(rows({ prompt: "a", chosen: "b" }), base)).rejects.toThrow(
      'line 1": "rejected" is missing',
    );
    await expect(readPairs(rows({ ...forms[0], rejected: "b" }), base)).rejects.toThrow(
      '"rejected" are the same',
    );
    await expect(readSamples(rows(forms[2]), base)).rejects.toThrow("are for dpo");
  });
});

describe("checks", () => {
  const long = rows(
    { prompt: "a", completion: "b" },
    { prompt: "a", completion: "b".repeat(60) },
    { prompt: "a".repeat(80), completion: "b" },
  );

  test("samples longer than the context: an error, dropped or cut", async () => {
    const at = (options: Partial<DataOptions>) => readSamples(long, { ...base, ctx: 40, ...options });
    await expect(at({})).rejects.toThrow(
      /: 2 of 3 are, the longest with 101 tokens \(.*, line 3\), wanted a context of 101/,
    );
    const dropped = await at({ long: "drop" });
    expect([dropped.stats.samples, dropped.stats.dropped, dropped.stats.cut]).toEqual([1, 2, 0]);
    const cut = await at({ long: "cut" });
    expect([cut.stats.samples, cut.stats.dropped, cut.stats.cut]).toEqual([2, 1, 1]);
    expect(cut.samples[1]!.ids.length).toBe(40);
    expect(cut.stats.longest).toEqual({ tokens: 101, file: long, line: 3 });
    expect(cut.stats.warnings).toEqual([
      `samples longer than the context of 40 tokens: of 1 the end is cut off, 1 are left out; the longest has 101 (${long}, line 3)`,
    ]);
  });

  test("windows of a long text: every token is learned once", async () => {
    const text = "abcdefghijklmnopqrstuvwxyz";
    const { samples, stats } = await readSamples(file(text, "txt"), { ...base, ctx: 10, long: "cut" });
    expect(stats.warnings).toEqual([]); // nothing of it is lost
    expect(samples.map((s) => shown(s))).toEqual(["a[bcdefghij]", "j[klmnopqrs]", "s[tuvwxyz<|im_end|>]"]);
  });

  test("counts, digest, duplicates, overlap", async () => {
    const content = '{"prompt":"a","completion":"b"}\n\n{"prompt":"a","completion":"b"}\n{"text":"xy"}';
    const path = file(content);
    const { samples, stats } = await readSamples(path, base);
    expect(stats.files).toEqual([
      { file: path, sha256: createHash("sha256").update(content).digest("hex"), lines: 3 },
    ]);
    expect([stats.samples, stats.tokens, stats.learned]).toEqual([
      3,
      samples.reduce((n, s) => n + s.ids.length, 0),
      6,
    ]);
    expect(stats.warnings).toEqual([
      `1 of 3 samples repeat an earlier one (${path}, line 3 is ${path}, line 1)`,
    ]);
    const other = await readSamples(rows({ text: "xy" }, { text: "z" }), base);
    expect(overlapWarning(samples, other.samples)).toMatch(
      /^1 of 2 samples of evaluation are also trained on/,
    );
    expect(overlapWarning(other.samples.slice(1), samples)).toBeUndefined();
  });

  test("an end token that nothing stops at is said", async () => {
    const { stats } = await readSamples(rows({ prompt: "a", completion: "b" }), { ...base, stopIds: [262] });
    expect(stats.warnings).toEqual([
      expect.stringContaining('1 turns end with "<|im_end|>", which does not end'),
    ]);
  });

  test("a mask of all ones is refused where prompts should not be learned", async () => {
    await expect(readSamples(rows({ prompt: "", completion: "b" }), { ...base, raw: true })).rejects.toThrow(
      "every token of every sample would be learned",
    );
  });

  test.each<[string, string | Uint8Array, RegExp, string?]>([
    ["no bytes", "", /Cannot read ".*": it has 0 bytes, wanted samples/],
    ["blank lines", "\n \n", /it has no samples, wanted at least one/],
    ["no JSON", '{"text":"a"}\n{"text":', /line 2": found .*want JSON/],
    ["not UTF-8", Buffer.from('{"text":"a"}\n{"text":"\xff"}', "latin1"), /line 2": it is not UTF-8/],
    ["UTF-16", Buffer.from('{"text":"a"}', "utf16le"), /line 1": /],
    ["a list", '[{"text":"a"}]', /begins with a list, wanted JSONL/],
    ["a number", '{"text":"a"}\n3', /line 2": found a number, wanted an object on each line/],
    [
      "other fields",
      '{"instruction":"a","output":"b"}',
      /line 1": found the fields "instruction", "output", wanted "messages"/,
    ],
    ["no assistant", row({ messages: [user("a")] }), /line 1": no message is the assistant's/],
    ["no completion", row({ prompt: "a" }), /"completion" is missing, wanted text or a list of messages/],
    ["an empty completion", row({ prompt: "a", completion: "" }), /"completion" is empty/],
    [
      "content of a number",
      row({ messages: [user("a"), says(3 as never)] }),
      /"content" of a message is a number, wanted text/,
    ],
    ["a key twice", '{"text":"a","text":"b"}', /key "text" again/],
    ["depth", `{"text":"a","x":${"[".repeat(1000)}${"]".repeat(1000)}}`, /nested deeper than 64/],
    [
      "nothing to learn",
      row({ messages: [user("a"), says("b", { weight: 0 })] }),
      /Cannot learn ".*, line 1": nothing of it would be learned/,
    ],
    ["CSV without end", 'text\n"a', /line 2": a quoted field has no end/, "csv"],
    [
      "CSV short row",
      "prompt,completion\na,b\n\nc\n",
      /line 4": it has 1 fields, the first line 2 columns/,
      "csv",
    ],
    [
      "CSV with semicolons",
      "prompt;completion\na;b\n",
      /line 1": its one column has ";" in it, wanted it as separator/,
      "csv",
    ],
    ["CSV not UTF-8", Buffer.from("text\na\n\xff\n", "latin1"), /line 3": it is not UTF-8/, "csv"],
    ["CSV other columns", "a,b\n1,2\n", /line 2": found the fields "a", "b", wanted/, "csv"],
    ["an unknown ending", "x", /its name ends in none of/, "parquet"],
  ])("%s", async (_name, content, message, ending = "jsonl") => {
    await expect(readSamples(file(content, ending), base)).rejects.toThrow(message);
  });

  test("no file, and a template that is absent", async () => {
    await expect(readSamples(join(dir, "none.jsonl"), base)).rejects.toThrow(
      /Cannot read ".*none.jsonl": no such file/,
    );
    const bare = loadTokenizerJson(json, {}, "bare");
    await expect(
      readSamples(rows({ messages: [user("a"), says("b")] }), { ...base, tokenizer: bare }),
    ).rejects.toThrow(/Cannot learn ".*, line 1": the model has no chat template/);
  });

  test("a signal stops the reading", async () => {
    const signal = AbortSignal.abort();
    await expect(readSamples(long, { ...base, signal })).rejects.toThrow(/abort/i);
  });
});

function row(value: unknown): string {
  return JSON.stringify(value);
}

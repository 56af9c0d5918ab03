// What needs no model: energy counters, licences, names, and how a table reads.

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { energyCounters, startEnergy } from "./energy.ts";
import { statedLicence } from "./licence.ts";
import { shortNames } from "./names.ts";
import { longPrompt, shortPrompt } from "./prompts.ts";
import { notesOf, summaries } from "./summary.ts";
import { tableOf } from "./table.ts";
import type { Compared, CompareResult } from "./types.ts";

const dir = await mkdtemp(join(tmpdir(), "pith-compare-parts-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

async function counter(name: string, label: string, energy: string): Promise<string> {
  const folder = join(dir, "powercap", name);
  await mkdir(folder, { recursive: true });
  await writeFile(join(folder, "name"), `${label}\n`);
  await writeFile(join(folder, "energy_uj"), `${energy}\n`);
  await writeFile(join(folder, "max_energy_range_uj"), "1000000\n");
  return join(folder, "energy_uj");
}

test("joules are those of the packages, whose counters begin again; no counters are no joules", async () => {
  const [zero, one] = [
    await counter("intel-rapl:0", "package-0", "400000"),
    await counter("intel-rapl:1", "package-1", "900000"),
  ];
  await counter("intel-rapl:0:0", "core", "5");
  await counter("intel-rapl-mmio:0", "package-0", "5");
  await counter("intel-rapl:2", "psys", "5");
  const counters = await energyCounters(join(dir, "powercap"));
  expect(counters.map(({ path }) => path)).toEqual([zero, one]);
  const end = await startEnergy(counters);
  await writeFile(zero, "650000\n");
  await writeFile(one, "100000\n"); // past the end of its range
  expect(await end!()).toBeCloseTo(0.25 + 0.2, 9);
  await rm(one);
  expect(await end!()).toBeUndefined();
  expect(await startEnergy(await energyCounters(join(dir, "nothing")))).toBeUndefined();
});

test("a licence is what the files state", async () => {
  const folder = async (name: string, files: Record<string, string>) => {
    const path = join(dir, name);
    await mkdir(path, { recursive: true });
    for (const [file, text] of Object.entries(files)) await writeFile(join(path, file), text);
    return statedLicence({ kind: "folder", name: path });
  };
  expect(await folder("a", { "README.md": '---\nlanguage: en\nlicense: "apache-2.0"\n---\n# M' })).toBe(
    "apache-2.0",
  );
  expect(
    await folder("b", { "README.md": "---\nlicense: other\nlicense_name: gemma\n---\n", LICENSE: "x" }),
  ).toBe("gemma");
  expect(await folder("c", { "README.md": "---\nlicense:\n- mit\n- cc-by-4.0\n---\n" })).toBe(
    "mit, cc-by-4.0",
  );
  expect(await folder("d", { "config.json": '{"license": "mit"}' })).toBe("mit");
  expect(await folder("e", { LICENSE: "\n  MIT License\n\nCopyright" })).toBe("MIT License");
  expect(await folder("f", { "README.md": "license: mit", "config.json": "{}" })).toBeUndefined();
  const gguf = (metadata: [string, string][]) =>
    statedLicence({ kind: "gguf", name: "x", gguf: { metadata: new Map(metadata) } as never });
  expect(await gguf([["general.license", "llama3.2"]])).toBe("llama3.2");
  expect(
    await gguf([
      ["general.license", "other"],
      ["general.license.name", "their\u001bown"],
    ]),
  ).toBe("their\\x1bown");
  expect(await gguf([])).toBeUndefined();
});

test("names are short, and no two are alike", () => {
  expect(shortNames(["/m/a.gguf", "b/", "owner/c:Q4_K_M"])).toEqual(["a", "b", "c:Q4_K_M"]);
  expect(shortNames(["/m/a", "/n/a.gguf", "/n/a.gguf"])).toEqual(["m/a", "n/a", "n/a (2)"]);
});

test("questions begin differently", () => {
  const begins = Array.from({ length: 2000 }, (_, i) => shortPrompt(i).slice(0, 5));
  expect(new Set(begins).size).toBe(2000);
  expect(longPrompt(3, 500)).toHaveLength(500);
  expect(longPrompt(0, 500)).not.toBe(longPrompt(1, 500));
});

/** Made up, to see how it is shown. */
function result(...models: Partial<Compared>[]): CompareResult {
  return {
    models: models.map((model, i) => ({
      ...{ name: `m${i}`, model: `/m${i}`, kind: "gguf", tasks: [], data: {}, notes: [] },
      ...model,
    })),
    machine: { processor: "p", backend: "native", kernels: "avx2", threads: 2, ctx: 512 },
    tasks: [{ name: "t.jsonl", metric: "label", lines: 100 }],
    round_trip_ms: 200,
    seconds: 1,
  };
}

test("a row has one number of decimals, its better value is marked, and what is as good, too", () => {
  const rows = tableOf(
    result(
      { file_bytes: 123_456_789_000, speed: { decode: 100 } },
      { file_bytes: 1_234_000, speed: { decode: 98 } },
      { speed: { decode: 20 } },
    ),
  ).flatMap((section) => section.rows);
  const row = (name: string) => rows.find((found) => found.name === name)!.cells;
  expect(row("Files").map(({ text }) => text)).toEqual(["123,456.79", "1.23", "–"].map((x) => x));
  expect(row("Files").map(({ best }) => best)).toEqual([false, true, false]);
  expect(row("Writing").map(({ best }) => best)).toEqual([true, true, false]);
  expect(rows.some(({ name }) => name === "Energy a token")).toBe(false);
  const even = tableOf(result({ load_ms: 10 }, { load_ms: 10.2 })).flatMap((section) => section.rows);
  expect(even.find(({ name }) => name === "Loading")!.cells.some(({ best }) => best)).toBe(false);
});

test("scores within each other's intervals are as good", () => {
  const scored = (value: number, low: number, high: number): Partial<Compared> => ({
    tasks: [{ lines: 100, scores: { accuracy: { value, low, high } } }],
  });
  const compared = result(scored(0.9, 0.83, 0.95), scored(0.86, 0.78, 0.91), scored(0.5, 0.4, 0.6));
  const cells = tableOf(compared).find(({ title }) => title.includes("t.jsonl"))!.rows[0]!.cells;
  expect(cells.map(({ text, note, best }) => [text, note, best])).toEqual([
    ["90.0", "83.0 to 95.0", true],
    ["86.0", "78.0 to 91.0", true],
    ["50.0", "40.0 to 60.0", false],
  ]);
  expect(summaries(compared)[1]).toContain("right label on t.jsonl 50.0 % instead of 90.0 %");
});

test("sentences say what is smaller and larger, and notes what a figure lacks", () => {
  const compared = result(
    { file_bytes: 4e6, speed: { decode: 50 }, memory_bytes: 1e6 },
    {
      file_bytes: 1e6,
      speed: { decode: 25 },
      memory_bytes: 3e6,
      answers: { count: 50, tokens: 16, p50: 3, ms: [3] },
    },
  );
  expect(summaries(compared)).toEqual([
    "m1 beside m0: files 4.0 times smaller; memory at work 3.0 times larger; writes 0.50 times as many tokens/s.",
  ]);
  expect(notesOf(compared)).toContain("m1: 50 short answers were timed; p99 wants 100, p99.9 wants 1,000.");
});

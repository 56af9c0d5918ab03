import { mkdtemp, readdir, readFile, rm, stat, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { tinySamples, VOCAB } from "../../test/helpers/tiny-learner.ts";
import type { Sample } from "../train/index.ts";
import { bytesPerToken, type CacheHeader, LogitCache, makeCache, samplesDigest } from "./cache.ts";
import { learnedRows, type Teacher, type TeacherRows } from "./types.ts";

const root = await mkdtemp(join(tmpdir(), "pith-cache-"));
afterAll(() => rm(root, { recursive: true, force: true }));
const samples = tinySamples(200);
const K = 5;

/** Says something else of every sample; fails when it has said so much of `most` of them. */
function talker(most = Infinity): Teacher & { asked: Sample[] } {
  const asked: Sample[] = [];
  return {
    asked,
    name: "talker",
    async score(some) {
      if (asked.length + some.length > most) throw new Error("the teacher went home");
      asked.push(...some);
      return some.map(rowsOf);
    },
    async close() {},
  };
}
function rowsOf(sample: Sample): TeacherRows {
  const n = learnedRows(sample);
  const ids = Int32Array.from({ length: n * K }, (_, i) =>
    i % K === K - 1 ? -1 : (sample.ids[0]! + i) % VOCAB,
  );
  return { k: K, ids, logp: Float32Array.from(ids, (id, i) => (id < 0 ? -Infinity : -1 - (i % 7) / 8)) };
}
const header = (more: Partial<CacheHeader> = {}): CacheHeader => ({
  ...{ tokenizer: "t", template: "c", data: samplesDigest(samples), teacher: "m", teacher_name: "talker" },
  ...{ temperature: 1, top_k: K, vocab_size: VOCAB },
  ...more,
});

test("what a teacher said comes back; a run that stopped goes on, however its file was torn", async () => {
  const [whole, path] = [join(root, "whole"), join(root, "torn")];
  await makeCache(whole, samples, header(), talker());
  const truth = await readFile(whole);
  const rows = samples.reduce((sum, sample) => sum + learnedRows(sample), 0);
  expect(bytesPerToken(header())).toBe(K * 4);
  expect(truth.length).toBeGreaterThan(rows * K * 4 + samples.length * 4);
  expect(truth.length).toBeLessThan(rows * K * 4 + samples.length * 4 + 600);

  await expect(makeCache(path, samples, header(), talker(130))).rejects.toThrow("went home");
  const left = `${path}.incomplete`;
  expect(await readdir(root)).toContain("torn.incomplete");
  const { size } = await stat(left);
  for (const cut of [0, 5, 17]) {
    const bytes = (await readFile(left)).subarray(0, size - cut);
    if (cut === 17) bytes.fill(0, size - 60); // what a power cut leaves
    await writeFile(left, bytes);
    const teacher = talker(cut < 17 ? 0 : Infinity);
    const made = makeCache(path, samples, header(), teacher);
    if (cut < 17) await expect(made).rejects.toThrow("went home");
    else {
      await made;
      expect(teacher.asked.length).toBeLessThan(90);
    }
  }
  expect((await readFile(path)).equals(truth)).toBe(true);

  const cache = await LogitCache.open(path, samples, header());
  const said = await cache.score([samples[7]!, samples[3]!], K);
  for (const [i, sample] of [samples[7]!, samples[3]!].entries()) {
    const wanted = rowsOf(sample);
    expect(said[i]!.ids).toEqual(wanted.ids);
    wanted.logp.forEach((x, j) => {
      if (wanted.ids[j]! >= 0) expect(said[i]!.logp[j]).toBe(x); // eighths are exact in f16
    });
  }
  await expect(cache.score([tinySamples(1, 9)[0]!], K)).rejects.toThrow("it has other samples");
  await cache.close();
});

test("a cache of something else is refused by name, half of one too; damage is found", async () => {
  const path = join(root, "one");
  await expect(makeCache(path, samples, header(), talker(100))).rejects.toThrow("went home");
  const other = makeCache(path, samples, header({ teacher: "n" }), talker());
  await expect(other).rejects.toThrow('its teacher is "m", wanted "n"; give another name, or remove it');
  await expect(LogitCache.open(path, samples, header())).rejects.toThrow(/Cannot read ".*one"/);
  await makeCache(path, samples, header(), talker());
  for (const wrong of [
    { tokenizer: "u" },
    { template: "d" },
    { data: samplesDigest(samples.slice(1)) },
    { temperature: 2 },
    { top_k: 6 },
    { vocab_size: 9 },
  ]) {
    const [[name, value]] = Object.entries(wrong) as [[keyof CacheHeader, unknown]];
    await expect(LogitCache.open(path, samples, header(wrong))).rejects.toThrow(
      `its ${name} is ${JSON.stringify(header()[name])}, wanted ${JSON.stringify(value)}`,
    );
  }
  // Without a teacher at hand nothing is known of it.
  const { teacher: _, ...known } = header();
  await (await LogitCache.open(path, samples, known)).close();

  const bytes = await readFile(path);
  await writeFile(path, bytes.subarray(0, -1));
  await expect(LogitCache.open(path, samples, known)).rejects.toThrow(/it has \d+ bytes, wanted \d+/);
  bytes[bytes.length - 9]! ^= 4;
  await writeFile(path, bytes);
  const damaged = await LogitCache.open(path, samples, known);
  await damaged.score(samples.slice(0, -1), K);
  await expect(damaged.score(samples.slice(-1), K)).rejects.toThrow(/"tiny.jsonl" line 200 is damaged/);
  await damaged.close();
  await writeFile(path, "{}");
  await expect(LogitCache.open(path, samples, known)).rejects.toThrow("does not begin with");
});

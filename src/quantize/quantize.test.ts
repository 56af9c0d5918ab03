import { mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { afterAll, describe, expect, test } from "vitest";
import { convert, openModel } from "../models/index.ts";
import { type QuantizeOptions, quantize } from "./index.ts";

const STORIES = fileURLToPath(new URL("../../models/stories", import.meta.url));
const dir = await mkdtemp(join(tmpdir(), "pith-quantize-"));
afterAll(() => rm(dir, { recursive: true, force: true }));

// The text that the small model in this repository was trained on, of other seeds.
const { stories } = await import(new URL("../../models/stories/corpus.mjs", import.meta.url).href);
const calibration = join(dir, "stories.txt");
await writeFile(calibration, stories(60, 11).join("\n"));
const evaluation = join(dir, "evaluation.txt");
await writeFile(evaluation, stories(40, 12).join("\n"));

let made = 0;
const run = (options: Omit<QuantizeOptions, "out"> & Partial<QuantizeOptions>, model = STORIES) =>
  quantize(model, { out: join(dir, `out-${made++}.gguf`), threads: 1, ...options }).result;
const bytesOf = async (path: string, name: string) => {
  const model = await openModel(path);
  const { source, offset, bytes, type } = model.tensors.get(name)!;
  const read = { type, bytes: Buffer.from(await source.read(offset, bytes)) };
  await model.close();
  return read;
};

test("one file, measured", async () => {
  const { variants, original, report } = await run({ to: "q4_0", eval: evaluation, eval_limit: 4 });
  const [variant] = variants;
  console.log(variants.map(({ plan, ...v }) => v), original, report);
});

// What an adapter learns of a house's own words (see pith demo): for each seed a house, 30 examples, a short training, and 60 held-out
// sentences answered before and after. Quality, not speed.
//
//     node bench/house.mjs [model] [--seeds 1,2,3] [--options '{"lr":0.001}']

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { parseArgs } from "node:util";
import { ADAPTER } from "../dist/demo/adapter.js";
import { makeHouses } from "../dist/demo/house.js";
import { generator, inventTools } from "../dist/demo/invent.js";
import { sampleLine, taskLine } from "../dist/demo/work.js";
import { evaluate, parseTask } from "../dist/evaluate/index.js";
import { loadModel } from "../dist/generate/index.js";
import { tune } from "../dist/train/index.js";

const { values, positionals } = parseArgs({
  allowPositionals: true,
  options: {
    seeds: { type: "string", default: "1,2,3,4,5,6,7,8,9,10,11,12" },
    options: { type: "string", default: "{}" },
  },
});
const model = positionals[0] ?? join(import.meta.dirname, "../models/caller");
const EXAMPLES = 30;
const HELD = 60;
const { Chance } = await generator();
const folder = await mkdtemp(join(tmpdir(), "pith-house-"));
const sum = { before: 0, after: 0, of: 0 };
console.log("seed  before  after   loss  seconds  words");
try {
  for (const seed of values.seeds.split(",").map(Number)) {
    const chance = new Chance(seed, "demo");
    const invented = await inventTools(chance.fork("tools"));
    const [house] = await makeHouses(invented, chance.fork("words"));
    const all = await house.sentences(chance.fork("house"), EXAMPLES + HELD);
    const tools = invented.map(({ tool }) => tool);
    const data = join(folder, `${seed}.jsonl`);
    const samples = all.slice(0, EXAMPLES).map((one) => sampleLine(tools, one));
    await writeFile(data, samples.join("\n"));
    const out = join(folder, `${seed}`);
    const how = { ...ADAPTER, compute: "bf16", seed, epochs: 1e6, ...JSON.parse(values.options) };
    const { loss, seconds } = await tune(model, { ...how, data, out }).result;
    const lines = all.slice(EXAMPLES).map((one) => taskLine(tools, one));
    const task = parseTask(lines.join("\n"), "house");
    const loaded = await loadModel(model, { sequences: 16 });
    await loaded.adapter(out, { name: "house" });
    const right = async (options) => {
      const { scores, lines } = await evaluate(loaded, { task, constrain: true, ...options });
      return Math.round(scores.whole_right.value * lines);
    };
    const [before, after] = [await right({}), await right({ adapter: "house" })];
    await loaded.close();
    sum.before += before;
    sum.after += after;
    sum.of += HELD;
    const row = [seed, before, after, loss.toFixed(4), seconds.toFixed(1)];
    console.log(
      `${row.map((x, i) => `${x}`.padStart([4, 7, 6, 6, 8][i])).join(" ")}  ${house.words.map(([word]) => word).join(" ")}`,
    );
  }
} finally {
  await rm(folder, { recursive: true, force: true });
}
const percent = (n) => `${((100 * n) / sum.of).toFixed(1)} %`;
console.log(`all: ${percent(sum.before)} before, ${percent(sum.after)} after`);

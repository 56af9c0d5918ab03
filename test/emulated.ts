// What scripts/check-arm64.mjs runs, compiled, in an emulated Node: the conformance cases on the native backend, and a
// trained model that must give the text published with it. Vitest's bundler is machine code, which a checkout has for its
// own machine only, so this stands alone.
//
//   node emulated.js <instruction sets that this processor must report, best first> <stories260K, or ""> [pattern]
//
// The best one is checked. With a pattern only cases whose op and label match, and no model.
import { readFileSync } from "node:fs";
import { loadAddon } from "../src/engine/backends/addon.ts";
import { NativeBackend } from "../src/engine/backends/native.ts";
import { ReferenceBackend } from "../src/engine/backends/reference.ts";
import { CASES } from "../src/engine/conformance/cases.ts";
import { failures, otherBitsByLength, otherBitsByThreads } from "../src/engine/conformance/run.ts";
import { loadModel } from "../src/generate/index.ts";

const [wanted = "", folder = "", pattern] = process.argv.slice(2);
const { isas, features } = loadAddon().info();
console.log(`${process.arch}, ${features.join(" ")}: ${isas.join(", ")}`);
const found: string[] = [];
if (isas.join() !== wanted) found.push(`instruction sets ${isas.join()}, wanted ${wanted}`);

const kernels = isas[0]!;
const started = performance.now();
const reference = new ReferenceBackend();
const backend = new NativeBackend({ kernels, threads: 2 });
const make = (threads: number) => new NativeBackend({ kernels, threads, smallWork: 0 });
const cases = CASES.filter((c) => !pattern || new RegExp(pattern).test(`${c.op} ${c.label}`));
for (const c of cases) {
  found.push(...(await failures(backend, reference, c)));
  if (c.rowwise && c.kv === undefined) found.push(...(await otherBitsByLength(backend, c)));
  found.push(...(await otherBitsByThreads(make, c)));
}
backend.close();
console.log(`${kernels}: ${cases.length} cases in ${((performance.now() - started) / 1000).toFixed(0)} s`);

if (!folder) console.log("stories260K: skipped, ../shared/data is absent");
else if (!pattern) {
  const wanted = readFileSync(`${folder}/expected_greedy.txt`, "utf8").trim();
  const model = await loadModel(folder, { kernels, kv: "f32" });
  const { text, ids } = await model.generate("", { maxTokens: 200, temperature: 0 });
  await model.close();
  console.log(`stories260K: ${ids.length} tokens, ${JSON.stringify(text.trim().slice(0, 60))}`);
  if (text.trim() !== wanted) found.push(`stories260K with ${kernels}: ${text}, wanted ${wanted}`);
}

for (const line of found) console.error(line);
process.exitCode = found.length > 0 ? 1 : 0;

// node-llama-cpp for call.mjs: prompts that share a beginning, answers of a given length; times of each on one line.
import { text } from "node:stream/consumers";
import { llama } from "./llama.mjs";

const { file, threads, asked } = JSON.parse(await text(process.stdin));
const model = await llama.loadModel({ modelPath: file });
const context = await model.createContext({ contextSize: 512, sequences: 1, threads });
const sequence = context.getSequence();
const times = [];
for (const [i, { ids, tokens }] of [asked[0], ...asked].entries()) {
  const begun = performance.now();
  // What is the same as before is kept, but for the last token.
  await sequence.adaptStateToTokens(ids.slice(0, -1), false);
  const rest = ids.slice(sequence.nextTokenIndex);
  let [count, first] = [0, 0];
  for await (const _ of sequence.evaluate(rest, { temperature: 0, yieldEogToken: true })) {
    if (count++ === 0) first = performance.now() - begun;
    if (count === tokens) break;
  }
  if (i > 0) times.push({ first, total: performance.now() - begun, tokens: count });
}
console.log(JSON.stringify(times));
process.exit(0);

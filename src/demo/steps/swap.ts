// Step: requests with two adapters and with none in one batch, and the same requests alone.

import type { GenerationResult } from "../../generate/index.ts";
import { htmlTable } from "../../report/page.ts";
import { escapeXml } from "../../report/svg.ts";
import { ADAPTER, learnAdapter } from "../adapter.ts";
import { asCalls, type Found, type Step, shellWord, type Work } from "../work.ts";

/** Most tokens of an answer. */
const ROOM = 128;
/** Sentences; each is asked three times. */
const SENTENCES = 4;
const WAYS = [undefined, "house", "neighbour"] as const;
const nameOf = (way: string | undefined) => way ?? "no adapter";

async function run(work: Work): Promise<Found> {
  const { model, material, amounts, path, shown, signal, tell } = work;
  await learnAdapter(work, {
    ...{ name: "neighbour", folder: "neighbour", data: "neighbour.jsonl", what: "another adapter learns" },
    ...{ seconds: amounts.neighbour_seconds, most: Math.ceil(ADAPTER.max_steps / 2) },
  });

  const { tools, held } = material;
  const sentences = held.slice(0, SENTENCES).map(({ text }) => text);
  const requests = sentences.flatMap((prompt) => WAYS.map((adapter) => ({ prompt, adapter })));
  let most_at_once = 0;
  const ask = async ({ prompt, adapter }: (typeof requests)[number]): Promise<GenerationResult> => {
    const messages = [{ role: "user", content: prompt }];
    const given = { tools, temperature: 0, maxTokens: ROOM, signal, ...(adapter && { adapter }) };
    const generation = model.chat(messages, given);
    for await (const _ of generation) most_at_once = Math.max(most_at_once, model.status.running);
    return generation;
  };
  for (const request of requests.slice(0, WAYS.length)) await ask(request); // the tools are read once for each
  const started = performance.now();
  const together = await Promise.all(requests.map(ask));
  const together_ms = performance.now() - started;
  const alone: GenerationResult[] = [];
  const again = performance.now();
  for (const request of requests) {
    alone.push(await ask(request));
    tell("alone", alone.length, requests.length);
  }
  const alone_ms = performance.now() - again;
  const same = together.filter(({ ids }, i) => sameIds(ids, alone[i]!.ids)).length;
  const answers = sentences.map((_, i) => WAYS.map((_, j) => together[i * WAYS.length + j]!.text));
  const differ = answers.filter((three) => new Set(three).size > 1).length;
  const telling = answers.reduce(
    (best, three, i) => (new Set(three).size > new Set(answers[best]!).size ? i : best),
    0,
  );
  const line = `${requests.length} requests, for each of ${sentences.length} sentences one with no adapter and one with each of two, ran in one engine at once (at most ${most_at_once} in a step): ${together_ms.toFixed(0)} ms, one after another ${alone_ms.toFixed(0)} ms.`;
  const equal = `${same} of ${requests.length} answers have the very tokens of their lone runs; for ${differ} of ${sentences.length} sentences the adapters changed the answer.`;
  return {
    lines: [
      line,
      equal,
      `"${sentences[telling]}"`,
      ...WAYS.map((way, j) => `  ${nameOf(way).padEnd(10)} ${answers[telling]![j]}`),
    ],
    commands: [
      `npx pith call ${shellWord(path)} --tools ${shellWord(shown("tools.json"))} --adapter ${shellWord(shown("adapter"))} "${sentences[0]!.replaceAll(/["$`\\]/g, "")}"`,
      `# in code: await model.adapter("${shown("adapter")}", { name: "a" }); then model.chat(messages, { adapter: "a" }), as many at once as wanted`,
    ],
    figures: {
      requests: requests.length,
      same_as_alone: same,
      sentences: sentences.length,
      changed: differ,
      most_at_once,
      together_ms,
      alone_ms,
    },
    page: `<p>A second adapter learned the words of another house${material.words.length > 0 ? ", where the same words mean other things" : ""}. ${escapeXml(line)} ${escapeXml(equal)}</p>
${htmlTable(
  ["sentence", ...WAYS.map(nameOf)],
  sentences.map((sentence, i) => [sentence, ...answers[i]!.map(asCalls)]),
)}`,
  };
}

const sameIds = (a: readonly number[], b: readonly number[]) =>
  a.length === b.length && a.every((id, i) => id === b[i]);

export const swap: Step = { id: "swap", title: "Two adapters in one batch", run };

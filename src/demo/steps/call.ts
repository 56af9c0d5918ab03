// Step: tools that the model has never seen, a sentence, and typed JSON.

import { median } from "../../generate/bench.ts";
import { htmlTable } from "../../report/page.ts";
import type { ToolAnswer, ToolCall } from "../../tools/index.ts";
import { answerText, type Found, type Step, shellWord, tried, type Work } from "../work.ts";

interface Asked {
  readonly sentence: string;
  /** Or why there is none. */
  readonly answer: ToolAnswer | RangeError;
  readonly ms: number;
  readonly first_token_ms?: number;
  /** Where the right answer is known. */
  readonly wanted?: readonly ToolCall[];
}

async function run(work: Work): Promise<Found> {
  const { model, material, options, signal, path, tell, shown } = work;
  const { tools, plain } = material;
  const ask = async (sentence: string, wanted?: readonly ToolCall[]): Promise<Asked> => {
    const begun = performance.now();
    const answer = await tried(model, { tools, prompt: sentence, signal });
    const given = { sentence, answer, ...(wanted && { wanted }) };
    if (answer instanceof RangeError) return { ...given, ms: performance.now() - begun };
    const { totalMs: ms, firstTokenMs: first_token_ms } = answer.generation.stats;
    return { ...given, ms, first_token_ms };
  };
  const asked: Asked[] = [];
  for (const [i, { text, answer }] of plain.entries()) {
    asked.push(await ask(text, answer));
    tell("asking", i + 1, plain.length);
  }
  const given =
    typeof options.sentence === "function" ? await options.sentence(tools, signal) : options.sentence;
  if (given !== undefined) asked.push(await ask(given));
  const [first, ...later] = asked;
  const known = asked.filter(({ wanted }) => wanted);
  const right = known.filter(isRight).length;
  const timed = later.length > 0 ? later : asked;
  const ms = median(timed.map((one) => one.ms));
  const firstToken = median(timed.map((one) => one.first_token_ms ?? one.ms));
  const parameters = `${(parameterCount(work) / 1e6).toFixed(1)} million parameters`;
  return {
    lines: [
      `The model has ${parameters} and was loaded in ${work.load_ms.toFixed(0)} ms. ${options.tools === undefined ? "These tools were invented just now, about things that it was never trained on:" : "Your tools:"}`,
      ...tools.map((tool) => `  ${signature(tool)}`),
      ...asked.flatMap((one) => [
        `"${one.sentence}"`,
        `  -> ${said(one.answer)}  (${one.ms.toFixed(1)} ms${one.wanted === undefined ? "" : isRight(one) ? ", right" : `, wrong: wanted ${answerText(one.wanted)}`})`,
      ]),
      `The first answer took ${first!.ms.toFixed(0)} ms, since it read the tools and made their grammar; then half of them took at most ${ms.toFixed(1)} ms, the first token ${firstToken.toFixed(1)} ms.`,
    ],
    commands: [
      `npx pith call ${shellWord(path)} --tools ${shellWord(shown("tools.json"))} "${plain[0]?.text.replaceAll(/["$`\\]/g, "") ?? "a sentence"}"`,
    ],
    figures: {
      asked: asked.length,
      ...(known.length > 0 && { known: known.length, right }),
      first_ms: first!.ms,
      median_ms: ms,
      median_first_token_ms: firstToken,
    },
    page: `<p>The model read these tools for the first time${options.tools === undefined ? "; they were invented for this run, about things that it was never trained on" : ""}. Its answer is JSON that their schemas allow, whatever the sentence is.</p>
${htmlTable(
  ["tool", "what it does"],
  tools.map((tool) => [signature(tool), tool.description ?? ""]),
)}
${htmlTable(
  ["sentence", "answer", "milliseconds", ""],
  asked.map((one) => [
    one.sentence,
    said(one.answer),
    one.ms.toFixed(one.ms < 100 ? 1 : 0),
    one.wanted === undefined ? "" : isRight(one) ? "right" : `wrong: wanted ${answerText(one.wanted)}`,
  ]),
)}`,
  };
}

const parameterCount = ({ model: { bytes, bitsPerWeight } }: Work) => (bytes.weights * 8) / bitsPerWeight;

/** create_thing(place, brand?) */
function signature({
  name,
  parameters: { properties, required },
}: Work["material"]["tools"][number]): string {
  return `${name}(${Object.keys(properties)
    .map((key) => `${key}${required.includes(key) ? "" : "?"}`)
    .join(", ")})`;
}

function said(answer: Asked["answer"]): string {
  if (answer instanceof RangeError) return answer.message;
  if (answer.kind === "calls") return answerText(answer.calls);
  return answer.kind === "question" ? `asks: ${answer.question}` : "[] (no function fits)";
}

function isRight({ answer, wanted }: Asked): boolean {
  if (!wanted || answer instanceof RangeError) return false;
  const calls = answer.kind === "calls" ? answer.calls : answer.kind === "refusal" ? [] : undefined;
  return calls !== undefined && answerText(calls) === answerText(wanted);
}

export const call: Step = { id: "call", title: "Your tools, a sentence, typed JSON", run };

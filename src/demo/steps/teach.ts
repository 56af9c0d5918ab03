// Step: words that nobody could know, 30 examples, and an adapter that has learned them.

import { htmlTable } from "../../report/page.ts";
import { escapeXml, lineChart } from "../../report/svg.ts";
import { ADAPTER, learnAdapter } from "../adapter.ts";
import {
  answered,
  answerText,
  asCalls,
  count,
  type Found,
  type Step,
  shellWord,
  type Work,
} from "../work.ts";

const SHOWN = 6;

async function run(work: Work): Promise<Found> {
  const { material, amounts, path, shown, made } = work;
  const { tools, examples, held, words } = material;
  const before = await answered(work, "before", tools, held);
  const { out, steps, learned } = await learnAdapter(work, {
    ...{ name: "house", folder: "adapter", data: "examples.jsonl", what: "learning" },
    ...{ seconds: amounts.adapter_seconds, most: ADAPTER.max_steps },
  });
  made.adapter = out;
  const after = await answered(work, "after", tools, held, "house");

  const rows = held.map((one, i) => ({
    ...one,
    before: before.answers[i]!,
    after: after.answers[i]!,
  }));
  // What has changed first.
  const order = [...rows].sort((a, b) => score(b) - score(a));
  const ofAll = (right: number) => `${right} of ${held.length}`;
  const settings = `--rank ${ADAPTER.rank} --alpha ${ADAPTER.alpha} --lr ${ADAPTER.lr} --batch-tokens ${ADAPTER.batch_tokens} --steps ${steps} --compute bf16`;
  return {
    lines: [
      ...(words.length > 0
        ? [
            `This house has words of its own: ${words.map(([word, means]) => `"${word}" means ${means}`).join(", ")}.`,
          ]
        : []),
      `Before: ${ofAll(before.right)} sentences right that are held out.`,
      `Learned from ${count(examples.length, "example")} in ${count(steps, "step")}, ${learned.seconds.toFixed(0)} s, loss ${learned.records.find(({ loss }) => loss !== undefined)!.loss!.toFixed(2)} -> ${learned.loss.toFixed(3)}.`,
      `After: ${ofAll(after.right)} right. None of them was learned from.`,
      ...order
        .slice(0, 3)
        .flatMap((row) => [
          `"${row.text}"`,
          `  before ${mark(row.before.right)} ${row.before.answer}`,
          `  after  ${mark(row.after.right)} ${row.after.answer}`,
        ]),
    ],
    commands: [
      `npx pith tune ${shellWord(path)} --data ${shellWord(shown("examples.jsonl"))} ${settings} --out my-adapter`,
      `npx pith evaluate ${shellWord(path)} --task ${shellWord(shown("held-out.task.jsonl"))} --constrain --adapter my-adapter`,
    ],
    figures: {
      examples: examples.length,
      held_out: held.length,
      right_before: before.right,
      right_after: after.right,
      steps,
      seconds: learned.seconds,
      loss: learned.loss,
    },
    page: `<p>${
      words.length > 0
        ? `A house has words of its own, drawn for this run: ${words.map(([word, means]) => `<b>${escapeXml(word)}</b> means ${escapeXml(means)}`).join(", ")}.`
        : "Your examples."
    } Of ${held.length} sentences that were held out, the model answered <b>${before.right}</b> right. It got ${examples.length} other examples and learned for ${learned.seconds.toFixed(0)} seconds, as an adapter beside its unchanged weights. Then it answered <b>${after.right}</b> of the ${held.length} right.</p>
<figure>${lineChart({ title: "Loss while it learned", x: "step", from: 0, series: [{ name: "loss", kind: "smooth", colour: 1, points: learned.records.flatMap(({ step, loss }) => (loss === undefined ? [] : [[step, loss] as const])) }] })}</figure>
${htmlTable(
  ["held-out sentence", "before", "after"],
  order
    .slice(0, SHOWN)
    .map((row) => [
      row.text,
      `${mark(row.before.right)} ${asCalls(row.before.answer)}`,
      row.after.answer === row.before.answer
        ? `${mark(row.after.right)} the same`
        : `${mark(row.after.right)} ${asCalls(row.after.answer)}`,
    ]),
)}
${
  order.some(({ after }) => !after.right)
    ? `<p>Still wrong: ${order
        .filter(({ after }) => !after.right)
        .map(({ text, answer }) => `“${escapeXml(text)}” (wanted ${escapeXml(asCalls(answerText(answer)))})`)
        .join("; ")}.</p>`
    : ""
}`,
  };
}

const mark = (right: boolean) => (right ? "✓" : "✗");
const score = ({ before, after }: { before: { right: boolean }; after: { right: boolean } }) =>
  2 * Number(after.right) - Number(before.right);

export const teach: Step = { id: "teach", title: "Your own words, learned from examples", run };

// Choices by likelihood: log p(choice | question) of every choice of every line.

import type { AdapterChoice } from "../generate/adapters.ts";
import type { Model } from "../generate/model.ts";
import { Scorer } from "./scorer.ts";
import type { Scored } from "./steps.ts";
import type { TaskLine } from "./task-file.ts";

/**
 * For each line, in order, the sum of log-probabilities of each choice, in nats. A `prompt` and a choice are joined as
 * they stand and tokenized as one text; what is scored begins where the ids of a line's choices first differ from those
 * of its question, at the same token for all of them. After `messages`, a choice is the beginning of the answer.
 */
export async function* chooseAll(
  model: Model,
  lines: readonly TaskLine[],
  name: string,
  { signal, adapter }: { signal?: AbortSignal; adapter?: AdapterChoice } = {},
): AsyncGenerator<number[], void, undefined> {
  const scored: Scored[] = [];
  for (const line of lines) {
    const sequences = sequencesOf(model, line);
    const lengths = sequences.map(({ ids }) => ids.length);
    if (Math.min(...lengths) < 2)
      throw new RangeError(
        `Cannot score ${JSON.stringify(`${name}, line ${line.line}`)}: nothing stands before a choice, wanted a question`,
      );
    const longest = Math.max(...lengths);
    if (longest > model.ctx)
      throw new RangeError(
        `Cannot score ${JSON.stringify(`${name}, line ${line.line}`)}: it has ${longest} tokens, but the context is ${model.ctx}`,
      );
    scored.push(...sequences);
  }
  if (scored.length === 0) return;
  using scorer = new Scorer(
    model,
    scored.reduce((most, { ids }) => Math.max(most, ids.length), 0),
    adapter,
  );
  const sums = new Float64Array(scored.length);
  const ended = new Uint8Array(scored.length);
  let [line, at] = [0, 0];
  for (const step of scorer.steps(scored)) {
    signal?.throwIfAborted();
    const losses = await scorer.run(step);
    for (let r = 0; r < losses.length; r++) sums[step.sequence[r]!]! -= losses[r]!;
    for (const sequence of step.ended) ended[sequence] = 1;
    for (; line < lines.length; line++) {
      const end = at + lines[line]!.choices!.length;
      if (ended.subarray(at, end).includes(0)) break;
      yield Array.from(sums.subarray(at, end));
      at = end;
    }
    await new Promise((resolve) => setImmediate(resolve));
  }
}

function sequencesOf(model: Model, { messages, prompt, choices, tools }: TaskLine): Scored[] {
  const { tokenizer } = model;
  if (messages) {
    const question = model.encodeMessages(messages, tools ? { tools } : {});
    return choices!.map((choice) => ({
      ids: Int32Array.from([...question, ...tokenizer.encode(choice, { addSpecial: false })]),
      from: question.length,
    }));
  }
  const question = model.encodePrompt(prompt!);
  const whole = choices!.map((choice) => model.encodePrompt(prompt! + choice));
  const common = (ids: ArrayLike<number>) => {
    let n = 0;
    while (n < question.length && n < ids.length && ids[n] === question[n]) n++;
    return n;
  };
  const from = Math.max(1, Math.min(...whole.map(common)));
  return whole.map((ids) => ({ ids: Int32Array.from(ids), from: Math.min(from, ids.length - 1) }));
}

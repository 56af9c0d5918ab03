// pith synthesize: prompts and answers written by a teacher from seeds, filtered, in a file that goes on where it stopped.
// Attempt number n is a function of the seeds, the settings and n alone, and attempts are decided in their order, however
// many run at once: so a run that was interrupted ends as one that was not, where the teacher is deterministic.

import { setMaxListeners } from "node:events";
import { loadModel } from "../generate/load.ts";
import type { Model } from "../generate/model.ts";
import { isEndpoint } from "../remote/index.ts";
import { Job } from "../train/job.ts";
import { Attempts } from "./synthesize-attempts.ts";
import { SampleFile } from "./synthesize-file.ts";
import { type Plan, planOf, type SynthesizeOptions, settingsOf } from "./synthesize-plan.ts";
import { Run, type SynthesizeEvent, type SynthesizeResult } from "./synthesize-run.ts";
import { readSeeds, type Seeds } from "./synthesize-seeds.ts";
import { endpointWriter, modelWriter, type Writer } from "./synthesize-writer.ts";

/**
 * Writes samples. Stopped or killed anywhere, the same call goes on after the last sample that was made durable.
 * @param teacher a loaded model, the name or path of one, or URLs of OpenAI-compatible endpoints with commas between them
 */
export function synthesize(
  teacher: string | Model,
  options: SynthesizeOptions,
): Job<SynthesizeEvent, SynthesizeResult> {
  return new Job(async (report, signal) => {
    const plan = planOf(options);
    const files = typeof options.seeds === "string" ? [options.seeds] : options.seeds;
    const seeds = await readSeeds(files, signal);
    if (typeof teacher !== "string") return run(modelWriter(teacher, plan), seeds, plan, report, signal);
    if (isEndpoint(teacher)) {
      if (options.adapter !== undefined)
        throw new TypeError("Cannot use an adapter with endpoints: wanted a model in this process, or none");
      const writer = await endpointWriter(teacher, options.endpoint ?? {}, plan, signal);
      return run(writer, seeds, plan, report, signal);
    }
    await using model = await loadModel(teacher, { signal, sequences: plan.sequences });
    return await run(modelWriter(model, plan), seeds, plan, report, signal);
  }, options.signal);
}

async function run(
  writer: Writer,
  seeds: Seeds,
  plan: Plan,
  report: (event: SynthesizeEvent) => void,
  outer: AbortSignal,
): Promise<SynthesizeResult> {
  // Ends what still runs when the samples are complete, or one failed.
  const ending = new AbortController();
  setMaxListeners(0, ending.signal); // a listener for each text on its way
  const onAbort = () => ending.abort(outer.reason);
  outer.addEventListener("abort", onAbort, { once: true });
  let file: SampleFile | undefined;
  try {
    outer.throwIfAborted();
    const attempts = new Attempts(writer, seeds, plan);
    const opened = await SampleFile.open(plan.out, settingsOf(plan, writer, seeds));
    file = opened.file;
    for (const line of opened.lines) attempts.accept(comparedText(line, seeds.kind, plan));
    return await new Run(writer, attempts, plan, opened.file, opened.state, report).go(ending.signal);
  } finally {
    outer.removeEventListener("abort", onAbort);
    ending.abort(new Error("The samples are complete"));
    writer.close();
    await file?.close();
  }
}

/** What of a written line near-duplicates are looked for in. */
function comparedText(line: string, kind: Seeds["kind"], plan: Plan): string {
  try {
    const { text, prompt, completion, messages } = JSON.parse(line);
    if (kind === "text") return text;
    const [asked, answer] =
      kind === "chat" ? [messages.at(-2).content, messages.at(-1).content] : [prompt, completion];
    return plan.prompts === "new" ? asked : `${asked}\n${answer}`;
  } catch {
    throw new Error(
      `Cannot go on with ${JSON.stringify(plan.out)}: a line of it was changed, wanted it as it was left`,
    );
  }
}

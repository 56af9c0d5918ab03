// pith synthesize: samples written by a teacher. What leaves this machine is said and asked for first.

import {
  REASONS,
  type SynthesizeEvent,
  type SynthesizeOptions,
  type SynthesizeResult,
  synthesize as synthesizeSamples,
} from "../distill/index.ts";
import type { Json } from "../formats/json.ts";
import type { JsonSchema } from "../generate/grammar/index.ts";
import type { Model } from "../generate/model.ts";
import { isEndpoint } from "../remote/index.ts";
import { attachAdapters } from "./adapters.ts";
import { type EndpointCliOptions, endpointOptions } from "./endpoints.ts";
import { interruptible } from "./interrupt.ts";
import { load } from "./load.ts";
import type { ModelOptions } from "./options.ts";
import { figure, note, printJson } from "./output.ts";
import { duration, progressBar } from "./progress.ts";
import { locate } from "./pull.ts";
import { set } from "./train.ts";

export interface SynthesizeCliOptions extends ModelOptions, EndpointCliOptions {
  teacher: string;
  seeds: string[];
  count: number;
  out: string;
  prompts?: "new" | "seeds";
  shots?: number;
  answerShots?: number;
  raw?: boolean;
  system?: string;
  schema?: JsonSchema;
  responseFormat?: boolean;
  think?: boolean;
  maxTokens?: number;
  promptTokens?: number;
  temperature?: number;
  topP?: number;
  stop?: string[];
  agree?: number;
  agreeShare?: number;
  minPrompt?: number;
  maxPrompt?: number;
  minLength?: number;
  maxLength?: number;
  near?: number;
  maxAttempts?: number;
  seed?: number;
  adapter?: string[];
  priceIn?: number;
  priceOut?: number;
  json?: boolean;
  /** Of all verbs. */
  pull?: boolean;
}

export async function synthesize(options: SynthesizeCliOptions): Promise<void> {
  const { teacher, seeds, count, out, json } = options;
  const { prompts, shots, answerShots, raw, system, maxTokens, promptTokens, temperature, topP, stop } =
    options;
  const { responseFormat, think } = options;
  const { agree, agreeShare, minPrompt, maxPrompt, minLength, maxLength, near, maxAttempts, seed } = options;
  const given: SynthesizeOptions = {
    seeds,
    count,
    out,
    ...set({ prompts, shots, answerShots, raw, system, maxTokens, promptTokens, temperature, topP, stop }),
    ...set({ agree, agreeShare, minPrompt, maxPrompt, minLength, maxLength, near, maxAttempts, seed }),
    ...set({ think }),
    ...(responseFormat === false && { responseFormat }),
    ...(options.schema !== undefined && { schema: options.schema as Json }),
    ...((options.priceIn !== undefined || options.priceOut !== undefined) && {
      price: { prompt: options.priceIn ?? 0, completion: options.priceOut ?? 0 },
    }),
  };
  if (isEndpoint(teacher)) {
    if (options.adapter)
      throw new TypeError("Cannot use --adapter with endpoints: wanted a model in this process, or none");
    const sent = `examples out of ${seeds.join(", ")}, and what the teacher writes of them`;
    const endpoint = await endpointOptions(teacher, sent, options);
    return follow(teacher, { ...given, endpoint }, json);
  }
  await locate(teacher, { pull: options.pull === true && !options.offline });
  await using model = await load(teacher, options);
  const adapter = await attachAdapters(model, options.adapter);
  await follow(model, { ...given, ...(adapter !== undefined && { adapter }) }, json);
}

async function follow(
  teacher: string | Model,
  options: SynthesizeOptions,
  json: boolean | undefined,
): Promise<void> {
  const bar = progressBar("writing");
  let last: SynthesizeEvent | undefined;
  try {
    const result = await interruptible("Interrupted", async (signal) => {
      const job = synthesizeSamples(teacher, { ...options, signal });
      for await (const event of job) {
        last = event;
        bar.update(event.accepted, event.count, progressText(event), event.accepted === event.count);
      }
      return job.result;
    });
    bar.stop();
    if (json) return printJson(result);
    noteResult(result);
  } catch (error) {
    bar.stop();
    if (last)
      note(
        `${figure(last.accepted)} of ${figure(last.count)} samples are in ${options.out}; the same command goes on`,
      );
    throw error;
  } finally {
    bar.stop();
  }
}

function progressText({ accepted, count, attempts, samples_per_second, eta }: SynthesizeEvent): string {
  const left = Number.isFinite(eta) && accepted < count ? `, ${duration(eta)} left` : "";
  const refused = attempts - accepted;
  return ` ${figure(accepted)} of ${figure(count)}, ${figure(refused)} refused, ${figure(samples_per_second)}/s${left}`;
}

function noteResult(result: SynthesizeResult): void {
  const { accepted, count, attempts, rejected, seconds, out, cost, endpoints, stopped } = result;
  const short = stopped === "attempts" ? `, ${figure(count)} were wanted` : "";
  note(`${figure(accepted)} samples of ${figure(attempts)} attempts in ${duration(seconds)}${short}: ${out}`);
  for (const [reason, n] of Object.entries(rejected))
    note(`refused: ${figure(n)} ${REASONS[reason as keyof typeof REASONS]}`);
  for (const { host, answered, failed, prompt_tokens, completion_tokens } of endpoints)
    note(
      `${host}: ${figure(answered)} answers${failed > 0 ? `, ${figure(failed)} failures` : ""}; tokens: ${figure(prompt_tokens)} of prompts, ${figure(completion_tokens)} written`,
    );
  if (cost !== undefined) note(`cost at the prices given: ${figure(cost)}`);
  if (result.unchecked_keywords.length > 0)
    note(`worth knowing: not checked in the schema: ${result.unchecked_keywords.join(", ")}`);
}

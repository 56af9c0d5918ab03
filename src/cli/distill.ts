// pith distill: a small model learns from a large one.

import { type DistillOptions, distill as distillModel, dryDistill, type Student } from "../distill/index.ts";
import { isEndpoint } from "../remote/index.ts";
import { type EndpointCliOptions, endpointOptions } from "./endpoints.ts";
import { bytes, note } from "./output.ts";
import { progressBar } from "./progress.ts";
import { type RecursiveCliOptions, recursive } from "./recursive.ts";
import { type LoopOptions, loopOptions, outOf, type ShapeOptions, set, shapeOf } from "./train.ts";
import { follow, noteDryRun, noteStart } from "./training.ts";
import { type SampleOptions, sampleOptions, targetsOf } from "./tune.ts";

export interface DistillCliOptions
  extends LoopOptions,
    ShapeOptions,
    SampleOptions,
    EndpointCliOptions,
    RecursiveCliOptions {
  teacher?: string;
  student?: string;
  method?: NonNullable<DistillOptions["method"]>;
  rank?: number;
  targets?: string;
  loss?: NonNullable<DistillOptions["loss"]>;
  beta?: number;
  temperature?: number;
  scaleTemperature?: boolean;
  ceWeight?: number;
  kdWeight?: number;
  cache?: string;
  topK?: number;
  onPolicy?: number;
  onPolicyFrom?: number;
  onPolicyLoss?: NonNullable<DistillOptions["loss"]>;
  onPolicyTemperature?: number;
  maxTokens?: number;
  keep?: "best" | "last";
  dryRun?: boolean;
}

export async function distill(options: DistillCliOptions): Promise<void> {
  const { data, teacher, targets, method, rank, loss, beta, temperature } = options;
  if (!data) throw new TypeError("Cannot distill: wanted a file of samples, with --data file");
  if (!teacher && options.cache === undefined)
    throw new TypeError("Cannot distill: wanted a teacher, with --teacher model, or --cache file");
  const out = outOf("distill", options);
  const { scaleTemperature, ceWeight, kdWeight, cache, topK, maxTokens, keep } = options;
  const { onPolicy, onPolicyFrom, onPolicyLoss, onPolicyTemperature } = options;
  const caching = progressBar("asking the teacher", "tokens");
  let noted = false;
  const told: DistillOptions = {
    ...{ data, out },
    ...set({ teacher, cache, top_k: topK, max_tokens: maxTokens, keep }),
    ...set({ on_policy: onPolicy, on_policy_from: onPolicyFrom, on_policy_loss: onPolicyLoss }),
    ...set({ on_policy_temperature: onPolicyTemperature }),
    onCache({ tokens, total, bytes_per_token }) {
      if (!noted) note(`cache: ${bytes_per_token} bytes a token, ${bytes(bytes_per_token * total)} in all`);
      noted = true;
      caching.update(tokens, total);
      if (tokens === total) caching.stop();
    },
    ...set({ method, rank, loss, beta, temperature, scale_temperature: scaleTemperature }),
    ...set({ ce_weight: ceWeight, kd_weight: kdWeight }),
    ...(targets !== undefined && { targets: targetsOf(targets) }),
    ...sampleOptions(options),
    ...loopOptions(options),
  };
  if (options.recursive !== undefined) return recursive(told, options);
  const student = studentOf(options);
  const sent = `the samples of ${[data].flat().join(", ")}, as ids of tokens`;
  const remote = teacher !== undefined && isEndpoint(teacher);
  const given = remote ? { ...told, endpoint: await endpointOptions(teacher, sent, options) } : told;
  if (options.dryRun)
    return noteDryRun((signal, color) => dryDistill(student, { ...given, signal }, { color }), options.json);
  await follow(
    (signal) => distillModel(student, { ...given, signal, onPlan: noteStart }),
    options.json,
    ({ adapter }) => (adapter ? `pith run ${options.student} --adapter ${out}` : `pith run ${out}`),
  );
}

/** A model that is there, or one to be made: by a config.json, or by its measures. */
function studentOf(options: DistillCliOptions): Student {
  const { student, seed } = options;
  const first = seed === undefined ? {} : { seed };
  if (student === undefined)
    return {
      config: shapeOf(options, "Cannot distill: wanted a student, with --student model or config.json, or"),
      ...first,
    };
  for (const name of ["layers", "heads", "width"] as const)
    if (options[name] !== undefined)
      throw new TypeError(
        `Cannot distill into ${JSON.stringify(student)} with --${name}: wanted a student that is there, or the measures of a new one`,
      );
  return /\.json$/i.test(student) ? { config: student, ...first } : student;
}

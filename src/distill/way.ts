// Who teaches, and what a step learns: the teacher loaded or asked, the cache made or opened, the learner over both.

import { endTokens, modelIdentity, type OpenedModel } from "../models/index.ts";
import { isEndpoint } from "../remote/index.ts";
import { digestOf, type GradientProgram, type Material, type Way } from "../train/index.ts";
import {
  bytesPerToken,
  type CacheHeader,
  cacheExists,
  LogitCache,
  makeCache,
  samplesDigest,
} from "./cache.ts";
import { endpointTeacher } from "./endpoint.ts";
import { onPolicy, promptLength, writingBytes } from "./on-policy.ts";
import type { DistillOptions, Plan } from "./options.ts";
import { recordDistillation } from "./programs.ts";
import { DistillStep, type Source, saidBy } from "./step.ts";
import { LocalTeacher } from "./teacher.ts";
import type { Teacher } from "./types.ts";
import { vocabularyDigest } from "./vocabulary.ts";

/** Tokens of a position: what a cache holds, and what servers give at most unless they are told otherwise. */
const TOP_K = { cache: 64, endpoint: 20 };

/**
 * @param model the teacher, where it is a model
 * @param dry nothing is written
 */
export async function openWay(
  model: OpenedModel | undefined,
  plan: Plan,
  options: Partial<DistillOptions>,
  material: Material,
  dry: boolean,
): Promise<Way> {
  const { tokenizer, backend, trainable, longest, signal } = material;
  const { mix, on_policy } = plan;
  const { temperature } = mix.distance;
  const opened: { close(): Promise<void> }[] = [];
  const close = () => {
    for (const one of opened.splice(0)) void one.close();
  };
  try {
    const V = Math.min(trainable.config.vocab_size, model?.config.vocab_size ?? Infinity);
    const { teacher: named, endpoint } = options;
    const remote =
      typeof named === "string" && isEndpoint(named)
        ? endpointTeacher(named, { ...endpoint, tokenizer })
        : undefined;
    if (remote) opened.push(remote);
    let local: LocalTeacher | undefined;
    const load = async (): Promise<LocalTeacher> => {
      if (local) return local;
      const { compute } = options;
      local = await LocalTeacher.load(model!, backend, {
        ...{ ctx: longest, vocab_size: V, temperature, signal },
        ...(compute && { compute }),
      });
      opened.push(local);
      return local;
    };
    /** The teacher itself, who can be asked about any text. */
    const anyText = async (): Promise<Source> =>
      remote
        ? { teacher: remote, top_k: Math.min(plan.top_k ?? TOP_K.endpoint, V), vocab_size: V }
        : { teacher: await load(), top_k: 0, vocab_size: V };

    const identity = model ? await modelIdentity(model) : remote?.name;
    const cached = options.cache !== undefined && !(dry && !(await cacheExists(options.cache)));
    let cache: LogitCache | undefined;
    if (cached) {
      const k = plan.top_k ?? (remote ? TOP_K.endpoint : TOP_K.cache);
      const teacher =
        identity === undefined ? undefined : { teacher: identity, teacher_name: (remote ?? model)!.name };
      const ask = async () => remote ?? (await load());
      cache = await openCache(options, material, teacher, { temperature, k, V }, ask);
      opened.push(cache);
      if (!on_policy) local?.free();
    }
    const source: Source = cache
      ? { teacher: cache, top_k: cache.header.top_k, vocab_size: cache.header.vocab_size }
      : await anyText();
    const judge = on_policy && (await anyText());
    const max_tokens = mostTokens(options, material);
    const record: GradientProgram = (trainable, ctx, compute = {}) =>
      recordDistillation(trainable, ctx, saidBy(source), mix, true, compute);
    return {
      record,
      bytes: local?.bytes ?? 0,
      reserved: on_policy ? writingBytes(trainable.config, longest) : 0,
      settings: {
        teacher: identity ?? cache!.header.teacher,
        mix,
        ...(source.top_k > 0 && { top_k: source.top_k }),
        ...(on_policy && { on_policy: { ...on_policy, max_tokens } }),
      },
      async learner(size, steps, compute) {
        const policy =
          on_policy &&
          onPolicy({
            ...on_policy,
            from: Math.floor(on_policy.from * steps),
            max_tokens,
            seed: options.seed ?? 0,
            eos: new Set(endTokens(tokenizer, material.model)),
            tokens: Math.min(V, tokenizer.vocabSize),
            source: judge!,
          });
        return new DistillStep(backend, trainable, size, {
          ...{ source, mix },
          ...(policy && { policy }),
          ...compute,
        });
      },
      close,
    };
  } catch (error) {
    close();
    throw error;
  }
}

/** Tokens of the longest answer of the data, unless it is said. */
function mostTokens({ max_tokens }: Partial<DistillOptions>, { train }: Material): number {
  if (max_tokens !== undefined) return max_tokens;
  return train.reduce((most, sample) => Math.max(most, sample.ids.length - promptLength(sample)), 1);
}

/** The cache at a path, made if it is not there and there is a teacher to ask. */
async function openCache(
  { cache: path, top_k, onCache }: Partial<DistillOptions>,
  { model, tokenizer, train, held, signal }: Material,
  teacher: Pick<CacheHeader, "teacher" | "teacher_name"> | undefined,
  { temperature, k, V }: { temperature: number; k: number; V: number },
  ask: () => Promise<Teacher>,
): Promise<LogitCache> {
  const samples = [...train, ...held];
  const known = {
    tokenizer: vocabularyDigest(tokenizer),
    template: digestOf(tokenizer.chatTemplate ?? ""),
    data: samplesDigest(samples),
    temperature,
  };
  if (teacher && !(await cacheExists(path!))) {
    const header = { ...known, ...teacher, top_k: Math.min(k, V), vocab_size: V };
    const bytes_per_token = bytesPerToken(header);
    await makeCache(path!, samples, header, await ask(), {
      signal,
      onProgress: (progress) => onCache?.({ ...progress, bytes_per_token }),
    });
  }
  const cache = await LogitCache.open(path!, samples, {
    ...known,
    ...(teacher && { ...teacher, vocab_size: V }),
    ...(top_k !== undefined && { top_k: Math.min(top_k, V) }),
  });
  const { vocab_size } = cache.header;
  if (vocab_size <= model.config.vocab_size) return cache;
  await cache.close();
  throw new RangeError(
    `Cannot use the logit cache ${JSON.stringify(path)}: it is of ${vocab_size} tokens, but the student has ${model.config.vocab_size}`,
  );
}

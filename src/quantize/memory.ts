// What a quantization takes in memory beyond the program itself, by method: formulas and figures, from shapes alone.

import { record } from "../engine/program.ts";
import type { Tensor } from "../engine/tensor.ts";
import { declareBatch, forward, type OpenedModel, parameterTypes, plainModule } from "../models/index.ts";
import { packedBytes } from "../models/memory.ts";
import { CALIBRATION_CTX, CALIBRATION_STEP, CALIBRATION_TOKENS } from "../train/index.ts";

import { learningOptions, learnMemory } from "./learned.ts";

import { blockTypes, type QuantizePlan } from "./plan.ts";
import type { QuantizeMethod, QuantizeOptions } from "./types.ts";

export interface MemoryPart {
  readonly what: string;
  readonly formula: string;
  readonly bytes: number;
}

export interface QuantizeMemory {
  readonly parts: readonly MemoryPart[];
  readonly total: number;
}

/** Values that are rounded at a time. */
const PIECE_VALUES = 2 ** 20;

type MemoryOptions = Pick<QuantizeOptions, "tokens" | "samples" | "ctx" | "codes">;

/** What a method takes for a model and a plan. */
export function quantizeMemory(
  model: OpenedModel,
  plan: QuantizePlan,
  method: QuantizeMethod,
  options: MemoryOptions,
): QuantizeMemory {
  if (method === "learned") return learnedMemory(model, plan, options);
  const { tokens, samples, ctx } = options;
  const { config, definition } = model;
  const { tensors } = plan;
  const parts: MemoryPart[] = [];
  const add = (what: string, formula: string, bytes: number) => parts.push({ what, formula, bytes });
  const rows = (name: string) => {
    const [n = 1, cols = 1] = definition.params(config).get(name)!;
    return { n, cols };
  };
  // What GGUF orders otherwise by columns is read whole.
  const moved = tensors
    .filter(({ name }) => definition.gguf.moved?.(name, config))
    .map(({ name }) => rows(name).n * rows(name).cols);
  const piece = Math.max(PIECE_VALUES, ...tensors.map(({ shape }) => shape.at(-1) ?? 1), ...moved);
  add("rows on their way into the file", `16 bytes · ${piece} values`, 16 * piece);
  if (method === "rtn") return sum(parts);
  const longest = Math.min(ctx ?? CALIBRATION_CTX, config.max_position_embeddings);
  const T = samples === undefined ? (tokens ?? CALIBRATION_TOKENS) : samples * longest;
  const width = config.hidden_size;
  add("hidden states, before and behind a part", `2 · 4 · ${T} tokens · ${width}`, 8 * T * width);
  const byPart = (bytesOf: (name: string) => number) => {
    const sums = new Map<string, number>();
    for (const { name } of tensors) sums.set(partOf(name), (sums.get(partOf(name)) ?? 0) + bytesOf(name));
    return Math.max(...sums.values());
  };
  const types = new Map(parameterTypes(model).map(({ name, type, shape }) => [name, { type, shape }]));
  const packed = byPart((name) => packedBytes(types.get(name)!.type, types.get(name)!.shape));
  add("weights of the largest part", "as in the file", packed);
  const mlp = 4 * CALIBRATION_STEP * (3 * config.intermediate_size + 8 * width);
  add("activations of a step", `4 · ${CALIBRATION_STEP} · (3 · intermediate + 8 · hidden)`, mlp);
  if (method === "imatrix") return sum(parts);
  const squares = inputWidths(model);
  const largest = Math.max(...[...squares.values()].map((list) => list.reduce((n, k) => n + k * k, 0)));
  const widest = Math.max(...[...squares.values()].flat());
  const values = (name: string) => types.get(name)!.shape.reduce((a, b) => a * b, 1);
  const matrix = Math.max(...tensors.map(({ name }) => values(name)));
  add("XᵀX of a part's linears", "4 · Σ columns²", 4 * largest);
  if (method === "gptq") add("the triangle of the widest", "4 · columns²", 4 * widest * widest);
  // Of GPTQ: values, codes, steps and minima of the groups, blocks twice. AWQ tries scales on a second copy.
  const each = method === "gptq" ? 9 : 16;
  add("the matrix that is rounded", `${each} bytes · weights of the largest`, each * matrix);
  if (method === "awq") add("scaled weights of a part", "4 · weights", 4 * byPart(values));
  return sum(parts);
}

/** GPTQ's blocks, and then the training of them: not at once. */
function learnedMemory(model: OpenedModel, plan: QuantizePlan, options: MemoryOptions): QuantizeMemory {
  const before = quantizeMemory(model, plan, "gptq", options).total;
  const ctx = Math.min(options.ctx ?? CALIBRATION_CTX, model.config.max_position_embeddings);
  const limits = { ctx, tokens: Math.max(ctx, CALIBRATION_STEP), sequences: CALIBRATION_STEP };
  const learning = learnMemory(model, blockTypes(plan), {
    calibration: { batches: [], digests: {}, limits },
    ...learningOptions(options),
  });
  const parts: MemoryPart[] = [
    {
      what: "the model as it was, which teaches",
      formula: "weights and a step",
      bytes: learning.teacher,
    },
    {
      what: "codes and what scales them",
      formula: "1.06 or 4 bytes a code, 8 to 20 a group",
      bytes: learning.weights,
    },
    {
      what: "gradients and moments of what is trained",
      formula: "12 bytes a number",
      bytes: learning.optimizer,
    },
    {
      what: "activations of a micro-batch",
      formula: "with the matrices of a block, or of all",
      bytes: learning.work,
    },
  ];
  const first = { what: "before that, GPTQ's blocks", formula: "as --method gptq tells", bytes: before };
  return { parts: [...parts, first], total: Math.max(sum(parts).total, before) };
}

const partOf = (name: string) => /\.(\d+)\./.exec(name)?.[1] ?? name;

function sum(parts: readonly MemoryPart[]): QuantizeMemory {
  return { parts, total: parts.reduce((total, { bytes }) => total + bytes, 0) };
}

/** Widths of what the linears of each part read, those that read the same counted once. */
function inputWidths({
  definition,
  config,
}: Pick<OpenedModel, "definition" | "config">): Map<string, number[]> {
  const widths = new Map<string, number[]>();
  const seen = new Set<Tensor>();
  record((g) => {
    const plain = plainModule(g, definition, config);
    const linear: typeof plain.linear = (path, x) => {
      if (!seen.has(x)) {
        const part = partOf(path);
        widths.set(part, [...(widths.get(part) ?? []), Number(x.shape.at(-1))]);
        seen.add(x);
      }
      return plain.linear(path, x);
    };
    return { logits: forward(definition, { ...plain, linear }, declareBatch(g, config, 1, false)) };
  });
  return widths;
}

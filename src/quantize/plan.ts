// The plan of a quantization: which type every tensor gets, why, and how large all become. From headers alone.

import { GRIDS, isQuantType, QUANT_TYPES, type QuantType } from "../engine/grids.ts";
import { WEIGHT_TYPES, type WeightType, weightBytes } from "../engine/weights.ts";
import { toGgufName } from "../models/gguf-names.ts";
import { type OpenedModel, parameterTypes } from "../models/index.ts";
import { type MixType, nextType, type Place, parseMix, standardType } from "./mix.ts";

/** Why a tensor has another type than the one asked for. */
export type Reason =
  /** A vector, a kernel of a convolution or a table that runtimes want in floats. */
  | "kept"
  /** The standard mix gives it more bits. */
  | "standard"
  /** `mix` names it, or `bits` chose it. */
  | "mix"
  /** No block of what it was to have divides its width. */
  | "width";

export interface PlannedTensor {
  /** Hugging Face's. */
  readonly name: string;
  readonly shape: readonly number[];
  /** The type that it has. */
  readonly from: WeightType;
  /** The type that it gets. */
  readonly type: WeightType;
  /** Of it in `type`. */
  readonly bytes: number;
  readonly reason?: Reason;
  /** With reason "width": what it was to have. */
  readonly wanted?: WeightType;
}

export interface QuantizePlan {
  /** The type asked for. */
  readonly to: QuantType;
  readonly tensors: readonly PlannedTensor[];
  /** Of all tensors, before and after; 16 bits a weight in between. */
  readonly bytes: { readonly before: number; readonly f16: number; readonly after: number };
  readonly parameters: number;
  /** Bits of all tensors over their elements. */
  readonly bits_per_weight: number;
  /** What should be known: fallbacks, a tied head, weights that were rounded before. */
  readonly notes: readonly string[];
}

export interface PlanOptions {
  readonly to: QuantType;
  /** Every matrix in the type asked for. Default: the standard mix. */
  readonly pure?: boolean;
  /** "pattern=type,...", on top of that: see `parseMix`. */
  readonly mix?: string;
  /** Types by name, as `bits` chooses them; `mix` goes before. */
  readonly types?: ReadonlyMap<string, MixType>;
  /** Of a folder: the matrices that it can hold in blocks, all of one type. The others become f16. */
  readonly packed?: ReadonlySet<string>;
}

type Planned = Pick<OpenedModel, "name" | "config" | "definition" | "tensors">;

/**
 * @throws {TypeError | RangeError} on a type that there is none of or that no matrix can take, and where `mix` names a matrix
 *   that cannot take its type
 */
export function planQuantization(model: Planned, options: PlanOptions): QuantizePlan {
  const { to, pure = false, mix, types, packed } = options;
  const { definition, config } = model;
  const cannot = `Cannot quantize ${JSON.stringify(model.name)} to ${to}: `;
  if (!isQuantType(to)) throw new TypeError(`${cannot}wanted one of ${QUANT_TYPES.join(", ")}`);
  const all = parameterTypes(model);
  const matrices = all.filter(({ kept }) => kept === undefined);
  const places = placesOf(
    model,
    matrices.map(({ name }) => name),
  );
  const tied = ![...places.values()].some(({ role }) => role === "output");
  const embedding = [...places].find(([, { role }]) => role === "token_embd")?.[0];
  const named = parseNamed(
    mix,
    matrices.map(({ name }) => name),
    tied ? embedding : undefined,
  );
  const shared = Math.floor(config.num_attention_heads / config.num_key_value_heads);
  const tensors = all.map(({ name, shape, type: from, kept }): PlannedTensor => {
    const tensor = { name, shape, from };
    const sized = (type: WeightType, more: Pick<PlannedTensor, "reason" | "wanted"> = {}) => ({
      ...tensor,
      type,
      bytes: weightBytes(type, product(shape)),
      ...more,
    });
    if (kept !== undefined) return sized(kept, { reason: "kept" });
    if (packed && !packed.has(name)) return sized("f16", { reason: "kept" });
    const asked = named.get(name);
    const given = asked ?? types?.get(name);
    const standard = pure || packed ? to : standardType(to, places.get(name)!, { tied, shared });
    const wanted = given ?? standard;
    const reason = given !== undefined ? "mix" : standard !== to ? "standard" : undefined;
    if (fits(wanted, shape)) return sized(wanted, reason && { reason });
    if (asked !== undefined)
      throw new RangeError(
        `Cannot quantize ${JSON.stringify(name)} to ${asked}: its width is ${shape.at(-1)}, wanted a whole number of blocks of ${WEIGHT_TYPES[asked].blockSize}`,
      );
    const next = packed ? "f16" : nextType(wanted as QuantType);
    const type = fits(next, shape) ? next : "f16";
    return sized(type, { reason: "width", wanted });
  });
  const quantized = tensors.filter(({ type }) => isQuantType(type));
  if (!matrices.some(({ shape }) => fits(to, shape))) {
    const widths = [...new Set(matrices.map(({ shape }) => shape.at(-1)))].join(", ");
    const others = QUANT_TYPES.filter((type) => matrices.some(({ shape }) => fits(type, shape)));
    throw new RangeError(
      `${cannot}its matrices have widths of ${widths}, wanted some of whole blocks of ${GRIDS[to].block}; ${
        others.length > 0 ? `${others.join(", ")} would do` : "no type would do"
      }`,
    );
  }
  const parameters = tensors.reduce((sum, { shape }) => sum + product(shape), 0);
  const after = tensors.reduce((sum, { bytes }) => sum + bytes, 0);
  const before = all.reduce((sum, { type, shape }) => sum + weightBytes(type, product(shape)), 0);
  return {
    to,
    tensors,
    bytes: { before, f16: 2 * parameters, after },
    parameters,
    bits_per_weight: (8 * after) / parameters,
    notes: notesOf(tensors, quantized, tied ? embedding : undefined, definition.model_type),
  };
}

const product = (shape: readonly number[]) => shape.reduce((a, b) => a * b, 1);
const fits = (type: WeightType, shape: readonly number[]) =>
  shape.at(-1)! % WEIGHT_TYPES[type].blockSize === 0;

function parseNamed(mix: string | undefined, names: readonly string[], tiedHead: string | undefined) {
  return mix === undefined ? new Map<string, MixType>() : parseMix(mix, names, tiedHead);
}

/** What each matrix is called in GGUF, without the layer, and its number among those of that name. */
export function placesOf(
  { definition }: Pick<OpenedModel, "definition">,
  names: readonly string[],
): Map<string, Place> {
  const roles = names.map((name) =>
    (toGgufName(definition.gguf.names, name) ?? name).replace(/^blk\.\d+\./, "").replace(/\.weight$/, ""),
  );
  const counts = new Map<string, number>();
  for (const role of roles) counts.set(role, (counts.get(role) ?? 0) + 1);
  const seen = new Map<string, number>();
  return new Map(
    names.map((name, i) => {
      const role = roles[i]!;
      const index = seen.get(role) ?? 0;
      seen.set(role, index + 1);
      return [name, { role, index, count: counts.get(role)! }];
    }),
  );
}

function notesOf(
  tensors: readonly PlannedTensor[],
  quantized: readonly PlannedTensor[],
  tiedEmbedding: string | undefined,
  model_type: string,
): string[] {
  const notes: string[] = [];
  const embedding = quantized.find(({ name }) => name === tiedEmbedding);
  if (embedding)
    notes.push(`the head is the embedding: both are ${embedding.type} (${embedding.name}, ${model_type})`);
  const alike = new Map<string, PlannedTensor[]>();
  for (const tensor of tensors) {
    if (tensor.reason !== "width") continue;
    const key = [tensor.shape.at(-1), tensor.wanted, tensor.type].join();
    alike.set(key, [...(alike.get(key) ?? []), tensor]);
  }
  for (const group of alike.values()) {
    const { name, shape, wanted, type } = group[0]!;
    const others = group.length > 1 ? ` and ${group.length - 1} more` : "";
    notes.push(
      `${name}${others}: ${type} in place of ${wanted}, as no block of ${WEIGHT_TYPES[wanted!].blockSize} divides the width ${shape.at(-1)}`,
    );
  }
  const rounded = quantized.filter(({ from }) => WEIGHT_TYPES[from].blockSize > 1);
  const again = rounded.filter(({ from, type }) => from !== type);
  if (again.length > 0)
    notes.push(
      `${again.length} matrices were rounded before (${[...new Set(again.map(({ from }) => from))].join(", ")}): what that cost stays, and the new types are rounded from it`,
    );
  return notes;
}

/** Types that a calibrated method decides codes of. */
export function blockTypes({ tensors }: QuantizePlan): Map<string, QuantType> {
  return new Map(tensors.flatMap(({ name, type }) => (isQuantType(type) ? [[name, type] as const] : [])));
}

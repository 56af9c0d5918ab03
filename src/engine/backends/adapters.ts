/**
 * Adapters of the backends over C++: checks, the types that matrices are held in, and where they lie in a slot's memory.
 */
import type { AdapterLinear, LinearChange } from "../backend.ts";
import type { LinearAttrs } from "../ops/linear.ts";
import type { Program } from "../program.ts";
import type { Tensor } from "../tensor.ts";
import { quantize, type WeightType, type WritableType } from "../weights.ts";
import { packedBytes } from "./checks.ts";

/** A table of adapters, as a storage has it. */
export interface AdapterTable {
  readonly linears: readonly AdapterLinear[];
  /** For each slot: bytes of its memory, and the runs that use it now. */
  readonly slots: { bytes: number; users: number }[];
}

/**
 * One matrix (or the vector "g") of a change, row-major as a file would hold it, rows of B in q8_0 padded to whole blocks.
 * Parts are numbered as in kernels/adapters.h.
 */
export interface AdapterPart {
  readonly linear: number;
  readonly part: number;
  readonly type: WeightType;
  readonly rows: number;
  readonly cols: number;
  /** Of x Aᵀ. */
  readonly scale: number;
  /** Byte in the slot's memory, and how many it takes there. */
  readonly at: number;
  readonly bytes: number;
  /** Converts it. */
  data(): Uint8Array;
}

const [A, B, W, G] = [0, 1, 2, 3] as const;
const ALIGN = 64;

/**
 * What A, B and a replaced weight are held in, by the type of the linear's own weight: never coarser than it. A of a
 * quantized one is multiplied with the int8 activations that its product makes anyway; its B, which is most of what a step
 * reads of an adapter, has 8 bits with a scale for each 32 columns of a row.
 */
export function adapterTypes(type: WeightType): { a: WritableType; b: WritableType; w: WritableType } {
  if (type === "f32") return { a: "f32", b: "f32", w: "f32" };
  if (type === "f16" || type === "bf16" || type === "nf4") return { a: "f16", b: "f16", w: "f16" };
  return { a: "q8_0", b: "q8_0", w: "q8_0" };
}

/** @throws {RangeError} on a number of slots or a size that is none */
export function checkTable(slots: number, linears: readonly AdapterLinear[]): AdapterTable {
  if (!(Number.isInteger(slots) && slots >= 0 && slots <= 65536))
    throw new RangeError(`Cannot make adapters with ${slots} slots: wanted a whole number of at most 65536`);
  linears.forEach(({ N, K }, i) => {
    if (!(Number.isInteger(N) && N > 0 && Number.isInteger(K) && K > 0))
      throw new RangeError(
        `Cannot make adapters: linear ${i} is [${N}, ${K}], wanted positive whole numbers`,
      );
  });
  return { linears: [...linears], slots: Array.from({ length: slots }, () => ({ bytes: 0, users: 0 })) };
}

/** @throws {RangeError} on a slot that there is not, or a change that does not fit its linear */
export function checkChanges(
  { linears, slots }: Pick<AdapterTable, "linears"> & { readonly slots: { readonly length: number } },
  slot: number,
  changes: ReadonlyMap<number, LinearChange> | undefined,
): void {
  if (!(Number.isInteger(slot) && slot >= 0 && slot < slots.length))
    throw new RangeError(`Cannot set adapter ${slot}: the table has ${slots.length} slots`);
  for (const [i, change] of changes ?? []) {
    const linear = linears[i];
    if (!linear)
      throw new RangeError(
        `Cannot set adapter ${slot}: linear ${i} is none of the table's ${linears.length}`,
      );
    const { N, K } = linear;
    const check = (what: string, found: number, wanted: number, shape: string) => {
      if (found !== wanted)
        throw new RangeError(
          `Cannot set adapter ${slot}: ${what} of linear ${i} has ${found} values, wanted ${wanted} for ${shape}`,
        );
    };
    if ("replaced" in change) {
      check("the replaced weight", change.replaced.length, N * K, `[${N}, ${K}]`);
      continue;
    }
    const { a, b, rank, magnitude } = change;
    if (!(Number.isInteger(rank) && rank > 0 && rank <= 65536))
      throw new RangeError(
        `Cannot set adapter ${slot}: the rank of linear ${i} is ${rank}, wanted a whole number from 1 to 65536`,
      );
    check("A", a.length, rank * K, `[${rank}, ${K}]`);
    check("B", b.length, N * rank, `[${N}, ${rank}]`);
    if (magnitude) check("the magnitude", magnitude.length, N, `[${N}]`);
  }
}

/** Where everything of an adapter goes, and the bytes it takes in all. */
export function layOut(
  linears: readonly AdapterLinear[],
  changes: ReadonlyMap<number, LinearChange>,
): { parts: AdapterPart[]; bytes: number } {
  const parts: AdapterPart[] = [];
  let at = 0;
  const put = (
    part: number,
    linear: number,
    values: Float32Array,
    rows: number,
    cols: number,
    wanted: WritableType,
    scale: number,
    unit: number,
  ) => {
    const type = Number.isFinite(unit) ? wanted : "f32";
    const byColumns = part === B && type === "q8_0";
    const bytes =
      part === G
        ? rows * 4
        : byColumns
          ? Math.ceil(rows / 16) * 16 * (2 * Math.ceil(cols / 32) + cols)
          : packedBytes(type, rows, cols);
    const data = () => {
      const scaled = unit === 1 || type === "f32" ? values : values.map((x) => x / unit);
      return quantize(type, byColumns ? wholeBlocks(scaled, rows, cols) : scaled);
    };
    parts.push({ linear, part, type, rows, cols, scale, at, bytes, data });
    at += Math.ceil(bytes / ALIGN) * ALIGN;
  };
  for (const [linear, change] of changes) {
    const { N, K, type } = linears[linear]!;
    const types = adapterTypes(type ?? "f32");
    if (K % 32 !== 0) [types.a, types.w] = [asFloat(types.a), asFloat(types.w)];
    if ("replaced" in change) {
      put(W, linear, change.replaced, N, K, types.w, 1, types.w === "f32" ? 1 : fits(change.replaced));
      continue;
    }
    const { a, b, rank, magnitude } = change;
    // Powers of two taken out of A and B bring them into the range of 16 bits; x Aᵀ gets them back.
    const [ua, ub] = [types.a === "f32" ? 1 : unitOf(a), types.b === "f32" ? 1 : unitOf(b)];
    const scale = (Number.isFinite(ua) ? ua : 1) * (Number.isFinite(ub) ? ub : 1);
    put(A, linear, a, rank, K, types.a, scale, ua);
    put(B, linear, b, N, rank, types.b, 1, ub);
    if (magnitude) put(G, linear, magnitude, N, 1, "f32", 1, 1);
  }
  return { parts, bytes: at };
}

/** Rows padded with zeros to a multiple of 32 columns. */
function wholeBlocks(values: Float32Array, rows: number, cols: number): Float32Array {
  const width = 32 * Math.ceil(cols / 32);
  if (width === cols) return values;
  const out = new Float32Array(rows * width);
  for (let r = 0; r < rows; r++) out.set(values.subarray(r * cols, (r + 1) * cols), r * width);
  return out;
}

function asFloat(type: WritableType): WritableType {
  return type === "q8_0" ? "f16" : type;
}

/** The power of two at or below the largest magnitude; 1 for zeros; NaN when a value is not finite. */
function unitOf(values: Float32Array): number {
  const top = largest(values);
  return top > 0 ? 2 ** Math.min(126, Math.max(-126, Math.floor(Math.log2(top)))) : top - top + 1;
}

/** 1 when the values may be held in 16 bits (or 8, with scales of 16), else NaN: an own weight has no factor beside it. */
function fits(values: Float32Array): number {
  return largest(values) <= 65504 ? 1 : Number.NaN;
}

/** Largest magnitude; NaN when a value is none. */
function largest(values: Float32Array): number {
  let top = 0;
  for (let i = 0; i < values.length; i++) {
    const x = Math.abs(values[i]!);
    if (!(x <= top)) top = x;
    if (Number.isNaN(top)) return top;
  }
  return top;
}

/** The tables of adapters of a program, each with the segments that choose from it. */
export function adapterUses(program: Program): { name: string; segments: string }[] {
  const found = new Map<Tensor, Set<Tensor>>();
  for (const node of program.nodes) {
    const at = tablesAt(node.op, node.attrs, node.inputs.length);
    if (at < 0) continue;
    const [adapters, segments] = node.inputs.slice(at) as [Tensor, Tensor];
    found.set(adapters, (found.get(adapters) ?? new Set()).add(segments));
  }
  return [...found].flatMap(([adapters, all]) =>
    [...all].map((segments) => ({ name: adapters.name!, segments: segments.name! })),
  );
}

/** Where a node's operands adapters, segments, (rows) begin, or -1. */
function tablesAt(op: string, attrs: object, inputs: number): number {
  if (op === "lora") return 2;
  const { adapters } = attrs as { adapters?: { rows: boolean } };
  return op === "linear" && adapters ? inputs - (adapters.rows ? 3 : 2) : -1;
}

/** @throws {TypeError} when the linears that a program wants to have changed are not those of the table */
export function checkAdapterBinding(program: Program, name: string, { linears }: AdapterTable): void {
  const check = (index: number, N: unknown, K: unknown) => {
    const linear = linears[index];
    if (index >= 0 && (linear?.N !== N || linear?.K !== K))
      throw new TypeError(
        `Cannot bind "${name}": linear ${index} is ${linear ? `[${linear.N}, ${linear.K}]` : "not in the table"}, wanted [${N}, ${K}]`,
      );
  };
  for (const node of program.nodes) {
    const at = tablesAt(node.op, node.attrs, node.inputs.length);
    if (at < 0 || node.inputs[at]!.name !== name) continue;
    if (node.op === "lora") {
      check((node.attrs as { linear: number }).linear, node.inputs[0]!.shape[1], node.inputs[1]!.shape[1]);
      continue;
    }
    const a = node.attrs as LinearAttrs;
    const first = 1 + (a.norm ? (a.norm.layer ? 2 : 1) : 0);
    a.adapters!.linears.forEach((index, j) => {
      const [N, K] = node.inputs[first + j]!.shape;
      check(index, N, K);
    });
  }
}

/**
 * The slots that a run of a program with these tables uses.
 * @throws {RangeError} when a segment names one that its table has not
 */
export function slotsUsed(
  uses: readonly { name: string; segments: string }[],
  bound: ReadonlyMap<string, { table: AdapterTable | undefined }>,
  inputs: Record<string, Int32Array | Float32Array>,
): Set<{ users: number }> {
  const used = new Set<{ users: number }>();
  for (const use of uses) {
    const { slots } = bound.get(use.name)!.table!;
    const segments = inputs[use.segments]!;
    for (let s = 3; s < segments.length; s += 4) {
      const slot = segments[s]!;
      if (slot < 0) continue;
      if (slot >= slots.length)
        throw new RangeError(
          `Cannot run a program: segment ${(s - 3) / 4} has adapter ${slot}, but the table has ${slots.length} slots`,
        );
      used.add(slots[slot]!);
    }
  }
  return used;
}

/** Runs one case on one backend: makes the operands, records the op alone, binds, runs, and reads everything it wrote. */
import { type Backend, type Dims, PAGE, weightOfBytes } from "../backend.ts";
import { record } from "../program.ts";
import { elements, type Shape, symbol, type Tensor } from "../tensor.ts";
import { isWritable, quantize, type WeightType } from "../weights.ts";
import { randomBlocks } from "./blocks.ts";
import { type Case, normal, type Operand, someAdapters } from "./cases.ts";

export interface Outcome {
  /** Outputs, then written states, by name. */
  readonly values: Map<string, Float64Array>;
  /** Columns of each, for row-wise comparison. */
  readonly cols: Map<string, number>;
}

/** Weight types of a case: every type that one of its weights names. */
export function weightTypes(test: Case): readonly (WeightType | "dense")[] {
  const types = new Set(
    test.operands.flatMap((o) => (o.types ?? []).filter((t) => t !== "dense" || (o.types?.length ?? 0) > 1)),
  );
  return types.size > 0 ? [...types] : ["dense"];
}

export function size(shape: Shape, dims: Dims): number {
  const sym = symbol(shape);
  return elements(shape) * (sym ? dims[sym] : 1);
}

export function operandValues(o: Operand, index: number, dims: Dims): Float32Array | Int32Array {
  const n = size(o.shape, dims);
  if (o.kind === "ids") return Int32Array.from({ length: n }, (_, i) => o.values!(i, dims.T));
  if (o.values) return Float32Array.from({ length: n }, (_, i) => o.values!(i, dims.T));
  return normal(n, index + 1);
}

export async function runCase(
  backend: Backend,
  test: Case,
  type: WeightType | "dense",
  dims: Dims,
  maxima: Dims = dims,
): Promise<Outcome> {
  const tensors: Tensor[] = [];
  const program = record((g) => {
    test.operands.forEach((o, i) => {
      const name = `operand${i}`;
      if (o.kind === "weight") tensors.push(g.param(name, o.shape));
      else if (o.kind === "state" || o.kind === "kv" || o.kind === "adapters")
        tensors.push(g.state(name, o.shape));
      else tensors.push(g.input(name, o.kind === "ids" ? "i32" : "f32", o.shape));
    });
    // A reshaped input would only be another name of it: reshape something that was computed.
    const inputs = test.op === "reshape" ? g.emit("shift", tensors, { c: 0 }) : [...tensors];
    const outputs = g.emit(test.op, inputs, test.attrs as never);
    const result = Object.fromEntries(outputs.map((t, i) => [`out${i}`, t]));
    if (test.op === "kv_write" || test.op === "rope_write") {
      const a = test.attrs as { num_attention_heads: number; head_dim: number };
      const q = g.input("probe", "f32", ["T", a.num_attention_heads, a.head_dim]);
      const at = test.op === "kv_write" ? 2 : 5;
      result["read back"] = g.emit(
        "attention_paged",
        [q, inputs[at]!, inputs[at + 1]!, inputs[at + 2]!],
        test.attrs as never,
      )[0]!;
    }
    return result;
  });
  const executable = backend.compile(program, maxima);
  const states = new Map<string, ReturnType<Backend["dense"]>>();
  const inputs: Record<string, Float32Array | Int32Array> = {};
  for (const [i, o] of test.operands.entries()) {
    const name = `operand${i}`;
    if (o.kind === "kv") {
      const pool = await filledPool(backend, test);
      states.set(name, pool);
      executable.bind(name, pool);
      continue;
    }
    if (o.kind === "adapters") {
      const linears = o.linears!.map((size) => ({ ...size, type: type === "dense" ? "f32" : type }));
      const table = backend.adapters(5, linears);
      for (const [slot, changes] of someAdapters(linears).entries()) backend.setAdapter(table, slot, changes);
      executable.bind(name, table);
      continue;
    }
    const values = operandValues(o, i, dims);
    if (o.kind === "weight") {
      const t = o.types!.includes(type) ? type : "dense";
      executable.bind(name, await makeWeight(backend, name, o.shape as number[], values as Float32Array, t));
    } else if (o.kind === "state") {
      const storage = backend.dense("f32", o.shape as number[], values);
      states.set(name, storage);
      executable.bind(name, storage);
    } else inputs[name] = values;
  }
  for (const t of program.inputs) if (t.name === "probe") inputs.probe = normal(size(t.shape, dims), 77);
  await executable.run(dims, inputs);

  const values = new Map<string, Float64Array>();
  const cols = new Map<string, number>();
  for (const [name, t] of program.outputs) {
    const into = new Float32Array(size(t.shape, dims));
    executable.read(name, into);
    values.set(name, Float64Array.from(into));
    cols.set(name, symbol(t.shape) ? elements(t.shape) : into.length);
  }
  for (const [name, storage] of states) {
    if (storage.kind !== "dense") continue;
    const into = new Float32Array(storage.bytes / 4);
    backend.read(storage, into);
    values.set(name, Float64Array.from(into));
    cols.set(name, into.length);
  }
  executable.free();
  return { values, cols };
}

async function makeWeight(
  backend: Backend,
  name: string,
  shape: number[],
  values: Float32Array,
  type: WeightType | "dense",
) {
  if (type === "dense") return backend.dense("f32", shape, values);
  const bytes = isWritable(type)
    ? quantize(type, values)
    : randomBlocks(type, values.length, values.length % 16);
  return weightOfBytes(backend, name, shape, { type, bytes });
}

/** A pool in which positions 0..69 of the first sequence and 0..2 of the second are written. */
async function filledPool(backend: Backend, test: Case) {
  const spec = test.kv!;
  const pool = backend.kv(spec);
  const [first, second] = [70, 3];
  const dims: Dims = { T: first + second, S: 2, R: 0 };
  const heads = { ...test.attrs, num_attention_heads: spec.num_key_value_heads };
  const program = record((g) => {
    const [k, v] = ["k", "v"].map((name) =>
      g.input(name, "f32", ["T", spec.num_key_value_heads, spec.head_dim]),
    );
    g.emit(
      "kv_write",
      [k!, v!, g.state("kv", [0]), g.input("segments", "i32", ["S", 4]), g.input("pages", "i32", ["S", 4])],
      heads as never,
    );
    return {};
  });
  const executable = backend.compile(program, dims);
  executable.bind("kv", pool);
  const pages = test.operands.findLast(({ kind }) => kind === "ids")!;
  await executable.run(dims, {
    k: normal(dims.T * spec.num_key_value_heads * spec.head_dim, 91),
    v: normal(dims.T * spec.num_key_value_heads * spec.head_dim, 92),
    segments: Int32Array.of(0, first, 0, -1, first, second, 0, -1),
    pages: operandValues(pages, 0, dims) as Int32Array,
  });
  executable.free();
  if (first > 2 * PAGE) throw new RangeError("the past must fit in the pages of the case");
  return pool;
}

/** Σ (a - b)² / Σ b² */
export function nmse(a: Float64Array, b: Float64Array): number {
  let [error, power] = [0, 0];
  for (let i = 0; i < b.length; i++) {
    if (Number.isNaN(a[i]) !== Number.isNaN(b[i])) return Number.NaN;
    error += (a[i]! - b[i]!) ** 2;
    power += b[i]! ** 2;
  }
  return power > 0 ? error / power : error;
}

/** Lengths of a step that every case runs with. */
const LENGTHS = [0, 1, 3, 8, 17];

/** Ops on R rows take their ids from R: they run with T = R. */
export const dims = (T: number): Dims => ({ T, S: T > 0 ? 2 : 0, R: T });

/** f32 arithmetic; int8 activations round at the same places as the reference, but a tie may fall to either side. */
function limit(test: Case): number {
  if (test.nmse) return test.nmse;
  return "int8" in test.attrs && test.attrs.int8 ? 1e-6 : 1e-10;
}

/** Where a backend is further from the reference than a case allows, at any weight type and length: none, if all is well. */
export async function failures(backend: Backend, reference: Backend, test: Case): Promise<string[]> {
  const found: string[] = [];
  for (const type of weightTypes(test))
    for (const T of LENGTHS) {
      const outcome = await runCase(backend, test, type, dims(T), dims(20));
      const wanted = await runCase(reference, test, type, dims(T));
      for (const [name, values] of wanted.values) {
        const error = nmse(outcome.values.get(name)!, values);
        if (!(error <= limit(test)))
          found.push(
            `${test.op} ${test.label}, weights ${type}, T = ${T}, ${name}: normalised squared error ${error}, wanted at most ${limit(test)}`,
          );
      }
    }
  return found;
}

/** Where rows of a step have other bits in a shorter one (values of operands depend on index alone). */
export async function otherBitsByLength(backend: Backend, test: Case): Promise<string[]> {
  const found: string[] = [];
  for (const type of weightTypes(test)) {
    const whole = await runCase(backend, test, type, dims(17), dims(20));
    for (const T of [1, 3, 8]) {
      const part = await runCase(backend, test, type, dims(T), dims(20));
      for (const [name, values] of part.values) {
        const wanted = whole.values.get(name)!.subarray(0, T * whole.cols.get(name)!);
        if (!sameBits(values, wanted))
          found.push(`${test.op} ${test.label}, weights ${type}, ${name}: other bits with T = ${T}`);
      }
    }
  }
  return found;
}

/** Where a step has other bits with 2 or 3 threads than with one. `make` gives a backend that uses them for any work. */
export async function otherBitsByThreads(make: (threads: number) => Backend, test: Case): Promise<string[]> {
  const found: string[] = [];
  const type = weightTypes(test).at(-2) ?? weightTypes(test)[0]!;
  let first: Outcome | undefined;
  for (const threads of [1, 2, 3]) {
    const backend = make(threads);
    const outcome = await runCase(backend, test, type, dims(17));
    backend.close();
    first ??= outcome;
    for (const [name, values] of first.values)
      if (!sameBits(outcome.values.get(name)!, values))
        found.push(`${test.op} ${test.label}, weights ${type}, ${name}: other bits with ${threads} threads`);
  }
  return found;
}

function sameBits(a: Float64Array, b: Float64Array): boolean {
  return a.length === b.length && a.every((x, i) => Object.is(x, b[i]));
}

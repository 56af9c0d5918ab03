/**
 * The reference backend: float64, one value at a time, straight from the op table. It defines what every other backend
 * must compute, and is fast enough for models of a few hundred thousand parameters.
 */
import type {
  AdapterLinear,
  Backend,
  ByteSource,
  Dims,
  Executable,
  KvSpec,
  KvType,
  LinearChange,
  Storage,
  WeightSource,
} from "../backend.ts";
import { kvBlockBytes, PAGE } from "../backend.ts";
import { encodeRows } from "../encode.ts";
import type { QuantType } from "../grids.ts";
import { f16ToF32, f32ToF16, roundEven } from "../half.ts";
import { checkKvPage } from "../kv-pages.ts";
import type { CoreOp, Value } from "../op.ts";
import { OPS } from "../ops/index.ts";
import { compose, type Program } from "../program.ts";
import { sample } from "../sampler.ts";
import { elements, type Shape, symbol, type Tensor } from "../tensor.ts";
import { dequantize, type FloatRows } from "../weights.ts";
import { checkChanges, checkTable } from "./adapters.ts";
import { checkEncode, encodeError } from "./encoding.ts";

interface ReferenceStorage extends Storage {
  readonly value: Value;
  readonly spec?: KvSpec;
}

function storage(kind: Storage["kind"], bytes: number, value: Value): ReferenceStorage {
  return { kind, bytes, value, free: () => {} };
}

/** Rows of a weight whose rotary halves are interleaved (see WeightSource.interleavedHeads), in Hugging Face's order. */
export function deinterleave<A extends Float64Array | Float32Array>(data: A, rows: number, heads: number): A {
  const out = data.slice() as A;
  const cols = data.length / rows;
  const size = rows / heads;
  for (let h = 0; h < heads; h++)
    for (let r = 0; r < size; r++) {
      const from = (h * size + r) * cols;
      const to = (h * size + (r % 2) * (size / 2) + Math.floor(r / 2)) * cols;
      out.set(data.subarray(from, from + cols), to);
    }
  return out;
}

export class ReferenceBackend implements Backend {
  readonly name = "reference";
  readonly kernels = "float64";
  readonly threads = 1;

  dense(dtype: "f32" | "i32", shape: readonly number[], data?: Float32Array | Int32Array): Storage {
    const n = elements(shape);
    if (data && data.length !== n)
      throw new RangeError(`Cannot make dense [${shape}]: ${data.length} values, wanted ${n}`);
    const values = dtype === "i32" ? new Int32Array(n) : new Float64Array(n);
    if (data) values.set(data);
    return storage("dense", n * 4, { data: values, shape, type: "f32" });
  }

  async weight(source: WeightSource, signal?: AbortSignal): Promise<Storage> {
    signal?.throwIfAborted();
    const data = new Float64Array(elements(source.shape));
    dequantize(source.type, await readAll(source.source, source.offset, source.bytes), data);
    const heads = source.interleavedHeads ?? 0;
    const rows = source.shape[0]!;
    return storage("weight", source.bytes, {
      data: heads > 0 ? deinterleave(data, rows, heads) : data,
      shape: source.shape,
      type: source.type,
    });
  }

  kv(spec: KvSpec): Storage {
    const n = spec.pages * spec.layers * 2 * PAGE * spec.num_key_value_heads * spec.head_dim;
    const data = new Float64Array(n);
    const { layers, num_key_value_heads, head_dim } = spec;
    const bytes = spec.pages * layers * num_key_value_heads * kvBlockBytes(spec.type, head_dim);
    const made = storage("kv", bytes, {
      data,
      shape: [n],
      type: "f32",
      kv: { layers, num_key_value_heads, head_dim, round: ROUND[spec.type], data },
    });
    return { ...made, spec } as ReferenceStorage;
  }

  /** Values of an f32 pool are float64 here: they are rounded. */
  readKv(source: Storage, page: number): Uint8Array {
    const { value, spec } = source as ReferenceStorage;
    checkKvPage(spec!, page);
    const n = value.data.length / spec!.pages;
    const data = Float32Array.from(value.data.subarray(page * n, (page + 1) * n));
    return new Uint8Array((spec!.type === "f16" ? Uint16Array.from(data, f32ToF16) : data).buffer);
  }

  writeKv(target: Storage, page: number, bytes: Uint8Array): void {
    const { value, spec } = target as ReferenceStorage;
    checkKvPage(spec!, page, bytes);
    const own = bytes.slice().buffer;
    const data =
      spec!.type === "f16" ? Float32Array.from(new Uint16Array(own), f16ToF32) : new Float32Array(own);
    value.data.set(data, (page * value.data.length) / spec!.pages);
  }

  adapters(slots: number, linears: readonly AdapterLinear[]): Storage {
    checkTable(slots, linears);
    const adapters = {
      linears,
      slots: Array<ReadonlyMap<number, LinearChange> | undefined>(slots).fill(undefined),
    };
    return storage("adapters", 0, { data: new Float64Array(0), shape: [0], type: "f32", adapters });
  }

  setAdapter(target: Storage, slot: number, changes: ReadonlyMap<number, LinearChange> | undefined): void {
    const { adapters } = (target as ReferenceStorage).value;
    if (!adapters) throw new TypeError("Cannot set an adapter: the storage is no table of adapters");
    checkChanges(adapters, slot, changes);
    adapters.slots[slot] = changes && new Map(changes);
  }

  write(target: Storage, data: Float32Array | Int32Array, start = 0): void {
    (target as ReferenceStorage).value.data.set(data, start);
  }

  read(from: Storage, into: Float32Array | Int32Array, start = 0): void {
    into.set((from as ReferenceStorage).value.data.subarray(start, start + into.length));
  }

  async encode(
    type: QuantType,
    rows: FloatRows,
    cols: number,
    importance?: Float32Array,
  ): Promise<Uint8Array> {
    const encoding = checkEncode(type, rows, cols, importance);
    const { weights, pieces, out } = encoding;
    for (const piece of pieces) {
      const values = new Float32Array(piece.rows * cols);
      dequantize(rows.type, piece.values, values);
      const answer = encodeRows(type, values, cols, weights.length > 0 ? weights : undefined);
      if (typeof answer === "number") throw encodeError(encoding, piece, answer);
      piece.out.set(answer);
    }
    return out;
  }

  compile(program: Program, maxima: Dims): Executable {
    return new ReferenceExecutable(compose(program), maxima);
  }

  close(): void {}
}

const ROUND: Record<KvType, (head: Float64Array) => Float64Array> = {
  f32: (head) => head,
  f16: (head) => head.map((x) => f16ToF32(f32ToF16(x))),
  // d = max|x| / 127 in f32, code = round(x · (1 / d)) to nearest even, and code · f16(d)
  q8_0: (head) => {
    for (let b = 0; b < head.length; b += 32) {
      const block = head.subarray(b, b + 32);
      const d = Math.fround(Math.fround(block.reduce((top, x) => Math.max(top, Math.abs(x)), 0)) / 127);
      const inverse = d >= 2 ** -126 ? Math.fround(1 / d) : 0;
      const scale = f16ToF32(f32ToF16(Math.min(d, 65504)));
      block.forEach((x, i) => {
        block[i] = roundEven(Math.fround(Math.fround(x) * inverse)) * scale;
      });
    }
    return head;
  },
};

async function readAll(source: ByteSource, offset: number, bytes: number): Promise<Uint8Array> {
  const data = await source.read(offset, bytes);
  if (data.length !== bytes)
    throw new RangeError(`Cannot read "${source.name}": ${data.length} bytes at ${offset}, wanted ${bytes}`);
  return data;
}

class ReferenceExecutable implements Executable {
  readonly arenaBytes = 0;
  private readonly program: Program;
  private readonly maxima: Dims;
  private readonly bound = new Map<Tensor, Value>();
  private values = new Map<Tensor, Value>();

  constructor(program: Program, maxima: Dims) {
    this.program = program;
    this.maxima = maxima;
  }

  bind(name: string, target: Storage): void {
    const tensor = [...this.program.params, ...this.program.states].find((t) => t.name === name);
    if (!tensor) throw new TypeError(`Cannot bind "${name}": the program has no param or state of that name`);
    const { value } = target as ReferenceStorage;
    if (!value.kv && value.data.length !== elements(tensor.shape))
      throw new TypeError(`Cannot bind "${name}": the storage is [${value.shape}], wanted [${tensor.shape}]`);
    this.bound.set(tensor, value.kv ? value : { ...value, shape: tensor.shape as number[] });
  }

  async run(
    dims: Dims,
    inputs: Record<string, Int32Array | Float32Array>,
    rows?: Parameters<Executable["run"]>[2],
  ): ReturnType<Executable["run"]> {
    for (const d of ["T", "S", "R"] as const)
      if (dims[d] > this.maxima[d])
        throw new RangeError(
          `Cannot run a program with ${d} = ${dims[d]}: it was compiled for at most ${this.maxima[d]}`,
        );
    const values = new Map<Tensor, Value>(this.bound);
    for (const t of [...this.program.params, ...this.program.states])
      if (!values.has(t)) throw new TypeError(`Cannot run a program: "${t.name}" is not bound`);
    for (const t of this.program.inputs) {
      const given = inputs[t.name!];
      const shape = concrete(t.shape, dims);
      if (given?.length !== elements(shape))
        throw new TypeError(
          `Cannot run a program: input "${t.name}" has ${given?.length ?? "no"} values, wanted ${elements(shape)}`,
        );
      values.set(t, {
        data: t.dtype === "i32" ? Int32Array.from(given) : Float64Array.from(given),
        shape,
        type: "f32",
      });
    }
    for (const node of this.program.nodes) {
      const outputs = node.outputs.map((t): Value => {
        const shape = concrete(t.shape, dims);
        return {
          data: t.dtype === "i32" ? new Int32Array(elements(shape)) : new Float64Array(elements(shape)),
          shape,
          type: "f32",
        };
      });
      const row = OPS[node.op] as CoreOp;
      row.reference(
        node.inputs.map((t) => values.get(t)!),
        outputs,
        node.attrs,
      );
      node.outputs.forEach((t, i) => {
        values.set(t, outputs[i]!);
      });
    }
    this.values = values;
    return rows ? this.sample(rows) : [];
  }

  sample(rows: Parameters<Executable["sample"]>[0]): ReturnType<Executable["sample"]> {
    const { data, shape } = this.output("logits");
    const vocab = shape.at(-1)!;
    return rows.map((row, r) => sample((data as Float64Array).subarray(r * vocab, (r + 1) * vocab), row));
  }

  read(output: string, into: Float32Array, start = 0): void {
    into.set(this.output(output).data.subarray(start, start + into.length));
  }

  /** The value itself, in float64: what other backends are compared with. */
  output(name: string): Value {
    const tensor = this.program.outputs.get(name);
    if (!tensor)
      throw new TypeError(
        `Cannot read output "${name}": the program has ${[...this.program.outputs.keys()].join(", ")}`,
      );
    const value = this.values.get(tensor);
    if (!value) throw new Error(`Cannot read output "${name}": the program has not run`);
    return value;
  }

  free(): void {
    this.values.clear();
    this.bound.clear();
  }
}

function concrete(shape: Shape, dims: Dims): number[] {
  const sym = symbol(shape);
  return shape.map((d) => (typeof d === "number" ? d : dims[sym!]));
}

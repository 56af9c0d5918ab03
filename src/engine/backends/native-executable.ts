/** A compiled program of the native backend: binding and running it. */
import type { Dims, Executable, Storage } from "../backend.ts";
import { plan } from "../plan.ts";
import type { Program } from "../program.ts";
import { packSample, type SampleResult, type SampleRow, unpackSample } from "../sampler.ts";
import type { Node, Tensor } from "../tensor.ts";
import { adapterUses, slotsUsed } from "./adapters.ts";
import type { Handle } from "./addon.ts";
import { checkBinding, checkBound, checkDims, checkInput, count, UNLIMITED } from "./checks.ts";
import { encodeImage } from "./image.ts";
import { type NativeBackend, NativeStorage } from "./native.ts";
import { Work } from "./work.ts";

/** Runs on the calling thread follow each other for at most this long before the event loop gets a turn. */
const TURN_MS = 5;

interface Input {
  readonly tensor: Tensor;
  readonly view: Float32Array | Int32Array;
}

/** When the event loop last had a turn between two runs on this thread. */
let turned = 0;

export class NativeExecutable implements Executable {
  readonly arenaBytes: number;
  private readonly backend: NativeBackend;
  private readonly program: Program;
  private readonly maxima: Dims;
  private readonly handle: Handle;
  private readonly slots: ReadonlyMap<string, { slot: number; tensor: Tensor }>;
  private readonly bound = new Map<string, NativeStorage>();
  private readonly inputs: readonly Input[];
  private readonly adapters: readonly { name: string; segments: string }[];
  private readonly outputs: ReadonlyMap<string, { tensor: Tensor; place: number | undefined }>;
  private readonly work: Work;
  private counted = false;
  private last: Dims = { T: 0, S: 0, R: 0 };
  private running = false;
  private freed = false;
  private sampling = false;

  constructor(backend: NativeBackend, program: Program, maxima: Dims) {
    checkDims(maxima, UNLIMITED, "compile");
    this.backend = backend;
    this.program = program;
    this.maxima = { T: maxima.T, S: maxima.S, R: maxima.R };
    const planned = plan(program, maxima);
    this.arenaBytes = planned.arenaBytes;
    const image = encodeImage(program, planned, maxima, backend.table);
    this.handle = backend.addon.program(image.words, backend.kernels);
    this.work = new Work(program);
    this.adapters = adapterUses(program);
    this.slots = new Map(image.slots.map((tensor, slot) => [tensor.name!, { slot, tensor }]));
    const [buffer, start] = backend.addon.inputs(this.handle);
    this.inputs = program.inputs.map((tensor) => {
      const View = tensor.dtype === "f32" ? Float32Array : Int32Array;
      const n = count(tensor, maxima);
      return { tensor, view: new View(buffer, start + image.inputs.get(tensor)!, n) };
    });
    this.outputs = new Map(
      [...program.outputs].map(([name, tensor]) => [name, { tensor, place: planned.place.get(tensor) }]),
    );
  }

  bind(name: string, storage: Storage): void {
    const found = this.slots.get(name);
    if (!found)
      throw new TypeError(
        `Cannot bind "${name}": the program has ${[...this.slots.keys()].join(", ") || "no params and states"}`,
      );
    if (!(storage instanceof NativeStorage) || storage.backend !== this.backend)
      throw new TypeError(`Cannot bind "${name}": the storage belongs to another backend`);
    if (storage.freed) throw new Error(`Cannot bind "${name}": the storage was freed`);
    this.checkIdle(`bind "${name}"`);
    checkBinding(this.program, name, found.tensor, storage);
    this.backend.addon.bind(this.handle, found.slot, storage.handle);
    this.bound.set(name, storage);
    this.counted = false;
  }

  async run(
    dims: Dims,
    inputs: Record<string, Int32Array | Float32Array>,
    rows?: readonly SampleRow[],
  ): Promise<SampleResult[]> {
    this.checkIdle("run a program");
    checkDims(dims, this.maxima, "run");
    const { T, S, R } = dims;
    checkBound(this.slots, this.bound);
    for (const [name, storage] of this.bound)
      if (storage.freed) throw new Error(`Cannot run a program: the storage bound to "${name}" was freed`);
    for (const { tensor, view } of this.inputs) view.set(checkInput(tensor, inputs[tensor.name!], dims));
    const used = slotsUsed(this.adapters, this.bound, inputs);
    this.setSampling(rows ?? [], R);
    this.last = { T, S, R };

    const { addon, threads } = this.backend;
    if (!this.counted) this.work.bind(this.bound);
    this.counted = true;
    this.running = true;
    for (const slot of used) slot.users++;
    try {
      if (this.work.bytes(dims) >= this.backend.smallWork) await addon.run(this.handle, T, S, R, threads);
      else {
        if (performance.now() - turned > TURN_MS) {
          await new Promise(setImmediate);
          turned = performance.now();
        }
        addon.runNow(this.handle, T, S, R);
      }
    } finally {
      this.running = false;
      for (const slot of used) slot.users--;
    }
    return rows && rows.length > 0 ? this.sampled(rows) : [];
  }

  sample(rows: readonly SampleRow[]): SampleResult[] {
    this.checkIdle("sample");
    if (rows.length === 0) return [];
    this.setSampling(rows, this.last.R);
    this.backend.addon.sample(this.handle);
    return this.sampled(rows);
  }

  private stride = 1;

  /** Tells the addon what to sample with the next run. */
  private setSampling(rows: readonly SampleRow[], R: number): void {
    if (rows.length === 0 && !this.sampling) return;
    const { addon, threads } = this.backend;
    if (rows.length > R)
      throw new RangeError(`Cannot sample ${rows.length} rows: the program has R = ${R} rows of logits`);
    this.sampling = rows.length > 0;
    if (!this.sampling) {
      addon.sampling(this.handle, 0, 1, 0, 0, NO_INTS, NO_FLOATS, threads);
      return;
    }
    const logits = this.output("logits", "sample");
    const vocab = logits.tensor.shape.at(-1) as number;
    const { ints, floats, stride } = packSample(rows, vocab);
    this.stride = stride;
    addon.sampling(this.handle, rows.length, stride, vocab, logits.place, ints, floats, threads);
  }

  private sampled(rows: readonly SampleRow[]): SampleResult[] {
    const ids = new Int32Array(rows.length * this.stride);
    const logprobs = new Float64Array(rows.length * this.stride);
    this.backend.addon.sampled(this.handle, ids, logprobs);
    return unpackSample(rows, this.stride, ids, logprobs);
  }

  read(output: string, into: Float32Array, start = 0): void {
    this.checkIdle(`read output "${output}"`);
    const { tensor, place } = this.output(output, "read");
    const n = count(tensor, this.last);
    if (!(Number.isInteger(start) && start >= 0 && start + into.length <= n))
      throw new RangeError(
        `Cannot read output "${output}": elements ${start} to ${start + into.length}, but it has ${n}`,
      );
    this.backend.addon.output(this.handle, place + start * 4, into);
  }

  /**
   * Seconds of one thread in every node since the last call, and how long it waited for the others before it. The first call
   * begins to measure. For benchmarks.
   */
  profile(): { node: Node; seconds: number; waited: number }[] {
    this.checkIdle("profile");
    const spent = this.backend.addon.profile(this.handle);
    const nodes = this.program.nodes.filter(({ op }) => op !== "reshape");
    return nodes.map((node, i) => ({ node, seconds: spent[2 * i]!, waited: spent[2 * i + 1]! }));
  }

  private output(name: string, action: string): { tensor: Tensor; place: number } {
    const found = this.outputs.get(name);
    if (!found)
      throw new TypeError(
        `Cannot ${action} output "${name}": the program has ${[...this.outputs.keys()].join(", ") || "none"}`,
      );
    if (found.place === undefined)
      throw new TypeError(
        `Cannot ${action} output "${name}": it is ${found.tensor.kind} memory, nothing computes it`,
      );
    return found as { tensor: Tensor; place: number };
  }

  private checkIdle(action: string): void {
    if (this.freed) throw new Error(`Cannot ${action}: the executable was freed`);
    if (this.running) throw new Error(`Cannot ${action}: a run is in progress, wanted one at a time`);
  }

  free(): void {
    this.freed = true;
    this.backend.addon.free(this.handle);
    this.bound.clear();
  }
}

const NO_INTS = new Int32Array(0);
const NO_FLOATS = new Float64Array(0);

/** A compiled program of the WebAssembly backend: binding and running it. */
import type { Dims, Executable, Storage } from "../backend.ts";
import { plan } from "../plan.ts";
import type { Program } from "../program.ts";
import { packSample, type SampleResult, type SampleRow, unpackSample } from "../sampler.ts";
import type { Tensor } from "../tensor.ts";
import { adapterUses, slotsUsed } from "./adapters.ts";
import { checkBinding, checkBound, checkDims, checkInput, count, UNLIMITED } from "./checks.ts";
import { encodeImage } from "./image.ts";
import { type WasmBackend, WasmStorage } from "./wasm.ts";
import type { Block, WasmModule } from "./wasm-module.ts";
import { Work } from "./work.ts";

/** Runs on the calling thread follow each other for at most this long before the event loop gets a turn. */
const TURN_MS = 10;
let turned = 0;

export class WasmExecutable implements Executable {
  readonly arenaBytes: number;
  private readonly backend: WasmBackend;
  private readonly module: WasmModule;
  private readonly program: Program;
  private readonly maxima: Dims;
  private readonly slots: ReadonlyMap<string, { slot: number; tensor: Tensor }>;
  private readonly bound = new Map<string, WasmStorage>();
  private readonly adapters: readonly { name: string; segments: string }[];
  private readonly offsets: ReadonlyMap<Tensor, number>;
  private readonly place: ReadonlyMap<Tensor, number>;
  private readonly blocks: Block[] = [];
  private readonly arena: Block;
  private readonly inputs: Block;
  private shared: Block | undefined;
  private readonly handle: number;
  private readonly work: Work;
  private counted = false;
  private last: Dims = { T: 0, S: 0, R: 0 };
  private running = false;
  private freed = false;

  constructor(backend: WasmBackend, program: Program, maxima: Dims) {
    checkDims(maxima, UNLIMITED, "compile");
    this.backend = backend;
    this.module = backend.module;
    this.program = program;
    this.adapters = adapterUses(program);
    this.maxima = { T: maxima.T, S: maxima.S, R: maxima.R };
    const planned = plan(program, maxima);
    this.arenaBytes = planned.arenaBytes;
    this.module.checkRoom(this.arenaBytes, "the planned memory of a program");
    this.place = planned.place;
    this.work = new Work(program);
    const image = encodeImage(program, planned, maxima, backend.table);
    this.offsets = image.inputs;
    this.slots = new Map(image.slots.map((tensor, slot) => [tensor.name!, { slot, tensor }]));
    const inputBytes = program.inputs.reduce(
      (end, t) => Math.max(end, image.inputs.get(t)! + count(t, maxima) * 4),
      0,
    );

    const { exports } = this.module;
    const words = this.module.alloc(image.words.byteLength, "the image of a program");
    try {
      this.module.ints(words.address, image.words.length).set(image.words);
      const bytes = exports.program_bytes(words.address, image.words.length) >>> 0;
      this.module.checkRefusal("make a program");
      this.arena = this.take(this.arenaBytes, "the planned memory of a program");
      const block = this.take(bytes, "a program");
      this.inputs = this.take(inputBytes, "the inputs of a program");
      this.handle =
        exports.program_make(block.address, words.address, this.arena.address, this.inputs.address) >>> 0;
    } catch (error) {
      this.free();
      throw error;
    } finally {
      this.module.free(words);
    }
  }

  private take(bytes: number, what: string): Block {
    const block = this.module.alloc(bytes, what);
    this.blocks.push(block);
    return block;
  }

  bind(name: string, storage: Storage): void {
    const found = this.slots.get(name);
    if (!found)
      throw new TypeError(
        `Cannot bind "${name}": the program has ${[...this.slots.keys()].join(", ") || "no params and states"}`,
      );
    if (!(storage instanceof WasmStorage) || storage.backend !== this.backend)
      throw new TypeError(`Cannot bind "${name}": the storage belongs to another backend`);
    if (storage.freed) throw new Error(`Cannot bind "${name}": the storage was freed`);
    this.checkIdle(`bind "${name}"`);
    checkBinding(this.program, name, found.tensor, storage);
    const packed = storage.kind === "weight";
    const cols = packed ? storage.shape.at(-1)! : 0;
    const rows = packed ? storage.shape.slice(0, -1).reduce((a, b) => a * b, 1) : 0;
    this.module.exports.program_bind(
      this.handle,
      found.slot,
      storage.block.address,
      this.backend.types.get(storage.type)!,
      packed ? 1 : 0,
      rows,
      cols,
      storage.bytes,
    );
    this.module.checkRefusal("bind storage");
    this.bound.set(name, storage);
    this.counted = false;
  }

  async run(
    dims: Dims,
    inputs: Record<string, Int32Array | Float32Array>,
    rows?: readonly SampleRow[],
  ): Promise<SampleResult[]> {
    this.checkIdle("run a program");
    this.backend.checkOpen("run a program");
    checkDims(dims, this.maxima, "run");
    const { T, S, R } = dims;
    checkBound(this.slots, this.bound);
    this.checkStorage();
    if (rows) this.checkRows(rows, R);
    for (const tensor of this.program.inputs) {
      const given = checkInput(tensor, inputs[tensor.name!], dims);
      const at = this.inputs.address + this.offsets.get(tensor)!;
      if (given instanceof Float32Array) this.module.floats(at, given.length).set(given);
      else this.module.ints(at, given.length).set(given);
    }
    const used = slotsUsed(this.adapters, this.bound, inputs);
    this.last = { T, S, R };

    if (!this.counted) this.work.bind(this.bound);
    this.counted = true;
    const { threads, smallWork } = this.backend;
    const pool = this.work.bytes(dims) < smallWork ? undefined : this.backend.pool;
    this.running = true;
    for (const slot of used) slot.users++;
    try {
      if (!pool) await this.turn();
      const { exports } = this.module;
      const shared = exports.program_resolve(this.handle, T, S, R) >>> 0;
      this.module.checkRefusal("run a program");
      this.reserve(shared);
      const n = pool ? threads : 1;
      const request = rows && rows.length > 0 ? this.request(rows, n) : undefined;
      const local = pool?.local ?? this.backend.local;
      const state = () => {
        exports.job_run(this.handle, T, S, R, n, this.shared?.address ?? 0, local.address);
        request?.state();
      };
      try {
        if (pool) await pool.run(state);
        else {
          state();
          exports.job_here();
        }
        return request?.results() ?? [];
      } finally {
        request?.free();
      }
    } finally {
      this.running = false;
      for (const slot of used) slot.users--;
    }
  }

  /** What runs on this thread holds it; between runs others get their turn. */
  private async turn(): Promise<void> {
    if (performance.now() - turned <= TURN_MS) return;
    await new Promise<void>((resolve) => afterTurn(resolve));
    turned = performance.now();
    this.checkFreed("run a program"); // that turn may have taken things away
    this.checkStorage();
  }

  private checkStorage(): void {
    for (const [name, storage] of this.bound)
      if (storage.freed) throw new Error(`Cannot run a program: the storage bound to "${name}" was freed`);
  }

  /** Shared scratch of at least so many bytes. */
  private reserve(bytes: number): void {
    if (bytes <= (this.shared?.bytes ?? 0)) return;
    if (this.shared) this.module.free(this.shared);
    this.shared = undefined;
    this.shared = this.module.alloc(bytes, "scratch");
  }

  sample(rows: readonly SampleRow[]): SampleResult[] {
    this.checkIdle("sample");
    this.checkRows(rows, this.last.R);
    if (rows.length === 0) return [];
    const request = this.request(rows, 1);
    try {
      this.module.exports.job_run(0, 0, 0, 0, 1, 0, 0);
      request.state();
      this.module.exports.job_here();
      return request.results();
    } finally {
      request.free();
    }
  }

  private checkRows(rows: readonly SampleRow[], R: number): void {
    if (rows.length > R)
      throw new RangeError(`Cannot sample ${rows.length} rows: the program has R = ${R} rows of logits`);
    if (rows.length > 0) this.output("logits", "sample");
  }

  /** Room for sampling rows of the logits on so many threads; `state` makes it part of the job that is being stated. */
  private request(rows: readonly SampleRow[], threads: number) {
    const { module } = this;
    const { tensor, place } = this.output("logits", "sample");
    const vocab = tensor.shape.at(-1) as number;
    const { ints, floats, stride } = packSample(rows, vocab);
    const answers = rows.length * stride;
    const room = module.alloc(floats.length * 8 + answers * 8 + answers * 4 + ints.length * 4, "sampling");
    const floatsAt = room.address;
    const logprobsAt = floatsAt + floats.length * 8;
    const idsAt = logprobsAt + answers * 8;
    const intsAt = idsAt + answers * 4;
    module.doubles(floatsAt, floats.length).set(floats);
    module.ints(intsAt, ints.length).set(ints);
    let each = 0;
    for (let row = 0; row < rows.length; row++)
      each = Math.max(each, module.exports.sample_scratch(intsAt, row, vocab) >>> 0);
    each = Math.ceil(each / 64) * 64;
    let scratch: Block;
    try {
      scratch = module.alloc(each * threads, "sampling");
    } catch (error) {
      module.free(room);
      throw error;
    }
    const logits = this.arena.address + place;
    return {
      state: () =>
        module.exports.job_sample(
          logits,
          rows.length,
          vocab,
          stride,
          intsAt,
          floatsAt,
          idsAt,
          logprobsAt,
          scratch.address,
          each,
        ),
      results: () =>
        unpackSample(
          rows,
          stride,
          module.ints(idsAt, answers).slice(),
          module.doubles(logprobsAt, answers).slice(),
        ),
      free: () => {
        module.free(room);
        module.free(scratch);
      },
    };
  }

  read(output: string, into: Float32Array, start = 0): void {
    this.checkIdle(`read output "${output}"`);
    const { tensor, place } = this.output(output, "read");
    const n = count(tensor, this.last);
    if (!(Number.isInteger(start) && start >= 0 && start + into.length <= n))
      throw new RangeError(
        `Cannot read output "${output}": elements ${start} to ${start + into.length}, but it has ${n}`,
      );
    into.set(this.module.floats(this.arena.address + place + start * 4, into.length));
  }

  private output(name: string, action: string): { tensor: Tensor; place: number } {
    const tensor = this.program.outputs.get(name);
    if (!tensor)
      throw new TypeError(
        `Cannot ${action} output "${name}": the program has ${[...this.program.outputs.keys()].join(", ") || "none"}`,
      );
    const place = this.place.get(tensor);
    if (place === undefined)
      throw new TypeError(
        `Cannot ${action} output "${name}": it is ${tensor.kind} memory, nothing computes it`,
      );
    return { tensor, place };
  }

  private checkIdle(action: string): void {
    this.checkFreed(action);
    if (this.running) throw new Error(`Cannot ${action}: a run is in progress, wanted one at a time`);
  }

  private checkFreed(action: string): void {
    if (this.freed) throw new Error(`Cannot ${action}: the executable was freed`);
  }

  free(): void {
    if (this.freed) return;
    this.freed = true;
    for (const block of this.blocks) this.module.free(block);
    if (this.shared) this.module.free(this.shared);
    this.bound.clear();
  }
}

/** Calls back when others have had a turn; browsers have no setImmediate. */
export const afterTurn: (callback: () => void) => void =
  typeof setImmediate === "function" ? setImmediate : (callback) => setTimeout(callback, 0);

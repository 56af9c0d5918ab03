import { readFileSync } from "node:fs";
import { afterEach, describe, expect, it, vi } from "vitest";
import type { WeightSource } from "../backend.ts";
import { randomBlocks } from "../conformance/blocks.ts";
import { CASES } from "../conformance/cases.ts";
import { runCase, weightTypes } from "../conformance/run.ts";
import { matmul_nt } from "../nn.ts";
import { toPanels } from "../panels.ts";
import { record } from "../program.ts";
import { type SampleRow, sample } from "../sampler.ts";
import { isWritable, quantize, WEIGHT_TYPES, type WeightType } from "../weights.ts";
import { WasmBackend, type WasmStorage } from "./wasm.ts";
import { WASM_LIMIT } from "./wasm-module.ts";

const open: WasmBackend[] = [];
async function backend(): Promise<WasmBackend> {
  const made = await WasmBackend.create();
  open.push(made);
  return made;
}
afterEach(() => {
  for (const made of open.splice(0)) made.close();
});

function random(n: number, seed = 1): Float32Array {
  let state = seed * 2654435761;
  return Float32Array.from({ length: n }, () => {
    state = (Math.imul(state, 1664525) + 1013904223) | 0;
    return state / 2 ** 31;
  });
}

const ONE = { T: 1, S: 1, R: 1 };
/** y = x wᵀ, [T, 8] to [T, 16] */
const product = () =>
  record((g) => ({ y: matmul_nt(g.input("x", "f32", ["T", 8]), g.param("w", [16, 8]), { int8: false }) }));

describe("memory", () => {
  it("is refused above the limit, with both numbers", async () => {
    const b = await backend();
    const used = b.module.used;
    expect(() => b.dense("f32", [2 ** 30])).toThrow(
      `Cannot allocate dense f32[${2 ** 30}]: ${2 ** 32} bytes more than the ${used} in use are ${used + 2 ** 32}, but WebAssembly holds at most ${WASM_LIMIT}`,
    );
    const program = record((g) => {
      const x = g.input("x", "f32", ["T", 1]);
      return { y: matmul_nt(x, g.param("w", [2 ** 20, 1]), { int8: false }) };
    });
    expect(() => b.compile(program, { T: 1000, S: 1, R: 1 })).toThrow(
      /Cannot allocate the planned memory of a program: 4194304000 bytes more than .* at most 3758096384/,
    );
    expect(b.module.used).toBe(used);
    expect(() => b.dense("f32", [2 ** 50])).toThrow("Cannot make dense storage of shape");
  });

  it("is zero when it is new and when it was used before, and is used again", async () => {
    const b = await backend();
    const used = b.module.used;
    const pieces = Array.from({ length: 20 }, (_, i) => b.dense("f32", [1000 + i], random(1000 + i)));
    const size = b.module.memory.buffer.byteLength;
    for (let round = 0; round < 50; round++) {
      for (const at of [round % 20, (round * 7) % 20, (round * 13 + 1) % 20]) {
        pieces[at]!.free();
        pieces[at]!.free();
        const n = 500 + ((round * 37 + at) % 500);
        const fresh = b.dense("f32", [n]);
        const values = new Float32Array(n).fill(1);
        b.read(fresh, values);
        expect(values.every((v) => v === 0)).toBe(true);
        b.write(fresh, random(n));
        pieces[at] = fresh;
      }
    }
    expect(b.module.memory.buffer.byteLength).toBe(size);
    for (const piece of pieces) piece.free();
    expect(b.module.used).toBe(used);
  });

  it("keeps neighbours apart", async () => {
    const b = await backend();
    const sizes = [1, 15, 16, 17, 1000, 3];
    const all = sizes.map((n, i) => b.dense("f32", [n], new Float32Array(n).fill(i + 1)));
    all[2]!.free();
    const again = b.dense("f32", [5], new Float32Array(5).fill(9));
    for (const [i, storage] of all.entries()) {
      if (i === 2) continue;
      const values = new Float32Array(sizes[i]!);
      b.read(storage, values);
      expect([...values]).toEqual(Array(sizes[i]).fill(i + 1));
    }
    expect((again as WasmStorage).block.address % 64).toBe(0);
  });

  it("of an executable goes with it", async () => {
    const b = await backend();
    const used = b.module.used;
    for (let i = 0; i < 3; i++) {
      const e = b.compile(product(), { T: 4, S: 1, R: 1 });
      const w = b.dense("f32", [16, 8], random(128));
      e.bind("w", w);
      await e.run({ T: 4, S: 1, R: 1 }, { x: random(32) });
      e.free();
      e.free();
      w.free();
      expect(b.module.used).toBe(used);
    }
  });
});

describe("the module", () => {
  it("may be given as bytes", async () => {
    const bytes = readFileSync(new URL("../../../wasm/pith-simd.wasm", import.meta.url));
    const b = await WasmBackend.create({ module: bytes });
    expect(b.table).toContain("attention_paged");
    await expect(WasmBackend.create({ module: bytes.subarray(0, 1000) })).rejects.toThrow(
      "the engine refuses the module of 1000 bytes, wanted WebAssembly with 128-bit SIMD",
    );
    await expect(WasmBackend.create({ kernels: "avx2" })).rejects.toThrow(
      'Cannot use kernels "avx2": the wasm backend has relaxed-simd and simd128',
    );
  });
});

describe("weights", () => {
  const weight = (type: WeightType, rows: number, cols: number): [WeightSource, Uint8Array] => {
    const bytes = isWritable(type)
      ? quantize(type, random(rows * cols, rows))
      : randomBlocks(type, rows * cols, rows);
    const read = async (offset: number, length: number) =>
      bytes.subarray(offset - 100, offset - 100 + length);
    const source = { name: "memory", read };
    return [{ name: "w", source, offset: 100, bytes: bytes.length, type, shape: [rows, cols] }, bytes];
  };

  it("lie in panels as TypeScript makes them", async () => {
    const b = await backend();
    const used = b.module.used;
    for (const type of Object.keys(WEIGHT_TYPES) as WeightType[])
      for (const [rows, cols] of [
        [1, 256],
        [70, 768],
        [3000, 512],
      ] as const) {
        const [source, bytes] = weight(type, rows, cols);
        const storage = (await b.weight(source)) as WasmStorage;
        const wanted = toPanels(type as never, bytes, rows, cols);
        const found = b.module.bytes(storage.block.address, storage.bytes);
        expect(Buffer.compare(found, wanted), `${type}[${rows},${cols}]`).toBe(0);
        storage.free();
      }
    expect(b.module.used).toBe(used);
  });

  it("have finite scales", async () => {
    const b = await backend();
    const used = b.module.used;
    for (const type of ["q4_0", "q8_0"] as const) {
      const [source, bytes] = weight(type, 40, 64);
      bytes[(bytes.length / 40) * 33 + 1] = 0x7c;
      await expect(b.weight(source)).rejects.toThrow(
        'Cannot load "w": exponent of a scale in row 33 is 31, wanted 30',
      );
    }
    expect(b.module.used).toBe(used);
  });

  it("leave nothing when they cannot be read", async () => {
    const b = await backend();
    const used = b.module.used;
    const [source] = weight("f32", 64, 64);
    await expect(b.weight({ ...source, bytes: 5 })).rejects.toThrow(
      "found 5 bytes, wanted 16384 for f32[64,64]",
    );
    const short = { name: "short", read: async () => new Uint8Array(10) };
    await expect(b.weight({ ...source, source: short })).rejects.toThrow(
      'Cannot read "short" for tensor "w": found 10 bytes at 100, wanted 16384',
    );
    const control = new AbortController();
    control.abort(new Error("enough"));
    await expect(b.weight(source, control.signal)).rejects.toThrow("enough");
    expect(b.module.used).toBe(used);
  });
});

describe("running", () => {
  it("gives the same bits at any step length", async () => {
    const b = await backend();
    for (const c of CASES.filter((c) => c.rowwise && c.kv === undefined))
      for (const type of weightTypes(c)) {
        const whole = await runCase(b, c, type, { T: 17, S: 2, R: 17 }, { T: 20, S: 2, R: 20 });
        for (const T of [1, 3, 8]) {
          const part = await runCase(b, c, type, { T, S: 2, R: T }, { T: 20, S: 2, R: 20 });
          for (const [name, values] of part.values)
            expect(values, `${c.op} ${c.label} ${type} T = ${T}`).toEqual(
              whole.values.get(name)!.slice(0, T * whole.cols.get(name)!),
            );
        }
      }
  });

  it("names what is wrong", async () => {
    const b = await backend();
    const e = b.compile(product(), { T: 4, S: 1, R: 1 });
    const x = new Float32Array(8);
    expect(() => e.bind("v", b.dense("f32", [16, 8]))).toThrow('Cannot bind "v": the program has w');
    expect(() => e.bind("w", b.dense("f32", [8, 16]))).toThrow(
      'Cannot bind "w": the storage is dense f32[8,16], wanted shape [16,8]',
    );
    const other = await backend();
    expect(() => e.bind("w", other.dense("f32", [16, 8]))).toThrow("belongs to another backend");
    await expect(e.run(ONE, { x })).rejects.toThrow("Cannot run a program: w not bound");
    const w = b.dense("f32", [16, 8]);
    e.bind("w", w);
    await expect(e.run({ T: 5, S: 1, R: 1 }, { x })).rejects.toThrow(
      "Cannot run a program with T = 5: wanted a whole number of at most 4",
    );
    await expect(e.run(ONE, { x: new Float32Array(9) })).rejects.toThrow(
      'input "x" has 9 f32 values, wanted 8 f32',
    );
    await e.run(ONE, { x });
    expect(() => e.read("y", new Float32Array(17))).toThrow("elements 0 to 17, but it has 16");
    await new Promise((resolve) => setTimeout(resolve, 20)); // the next run first gives others a turn
    const running = e.run(ONE, { x });
    await expect(e.run(ONE, { x })).rejects.toThrow("a run is in progress, wanted one at a time");
    w.free();
    await expect(running).rejects.toThrow('the storage bound to "w" was freed');
    b.close();
    expect(() => b.dense("f32", [4])).toThrow("the backend was closed");
    expect(() => b.read(w, new Float32Array(1))).toThrow("it was freed");
  });

  it("gives the event loop turns", async () => {
    const b = await backend();
    const e = b.compile(product(), ONE);
    e.bind("w", b.dense("f32", [16, 8]));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const until = performance.now() + 100;
    while (performance.now() < until) await e.run(ONE, { x: new Float32Array(8) });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  });

  it("samples as the definition does", async () => {
    const b = await backend();
    const [vocab, n] = [500, 8];
    const program = record((g) => ({
      logits: matmul_nt(g.input("x", "f32", ["R", n]), g.param("w", [vocab, n]), { int8: false }),
    }));
    const e = b.compile(program, { T: 1, S: 1, R: 3 });
    const w = random(vocab * n, 5);
    e.bind("w", b.dense("f32", [vocab, n], w));
    const x = random(3 * n, 6);
    const rows = [0, 1, 2].map(
      (i): SampleRow => ({
        temperature: i * 0.7,
        top_k: 40,
        top_p: 0.95,
        min_p: 0,
        repetition_penalty: 1,
        presence_penalty: 0,
        frequency_penalty: 0,
        seed: [1, 2],
        counter: i,
        logprobs: i,
      }),
    );
    const found = await e.run({ T: 1, S: 1, R: 3 }, { x }, rows);
    const logits = new Float32Array(3 * vocab);
    e.read("logits", logits);
    const wanted = rows.map((row, i) => sample(logits.slice(i * vocab, (i + 1) * vocab), row));
    expect(found.map((f) => f.id)).toEqual(wanted.map((f) => f.id));
    for (const [i, result] of found.entries()) {
      expect(result.logprob).toBeCloseTo(wanted[i]!.logprob, 5);
      expect(result.top?.map((t) => t.id)).toEqual(wanted[i]!.top?.map((t) => t.id));
    }
    expect(e.sample(rows.slice(0, 2)).map((f) => f.id)).toEqual(wanted.slice(0, 2).map((f) => f.id));
    expect(() => e.sample([...rows, ...rows])).toThrow("Cannot sample 6 rows: the program has R = 3");
  });
});

describe("threads", () => {
  const N = 512;
  const large = () =>
    record((g) => ({ y: matmul_nt(g.input("x", "f32", ["T", N]), g.param("w", [N, N]), { int8: false }) }));
  const SIXTEEN = { T: 16, S: 1, R: 1 };

  async function threaded() {
    const b = await WasmBackend.create({ threads: 2, smallWork: 0 });
    open.push(b);
    const e = b.compile(large(), SIXTEEN);
    const w = b.dense("f32", [N, N], random(N * N));
    e.bind("w", w);
    return { b, e, w };
  }

  it("leave the event loop free while a program runs", async () => {
    const { e } = await threaded();
    const x = random(16 * N);
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    for (const until = performance.now() + 200; performance.now() < until; ) await e.run(SIXTEEN, { x });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(20);
  });

  it("run the programs of a backend one after the other", async () => {
    const { b, e, w } = await threaded();
    const all = [e, ...Array.from({ length: 3 }, () => b.compile(large(), SIXTEEN))];
    for (const each of all.slice(1)) each.bind("w", w);
    const inputs = all.map((_, i) => random(16 * N, i + 2));
    await Promise.all(all.map((each, i) => each.run(SIXTEEN, { x: inputs[i]! })));
    const here = await WasmBackend.create({ threads: 1 });
    open.push(here);
    const alone = here.compile(large(), SIXTEEN);
    alone.bind("w", here.dense("f32", [N, N], random(N * N)));
    for (const [i, each] of all.entries()) {
      await alone.run(SIXTEEN, { x: inputs[i]! });
      const [found, wanted] = [each, alone].map((from) => {
        const y = new Float32Array(16 * N);
        from!.read("y", y);
        return y;
      });
      expect(found).toEqual(wanted);
    }
  });

  it("keep what is freed while they run", async () => {
    const { b, e, w } = await threaded();
    const x = random(16 * N);
    await e.run(SIXTEEN, { x });
    const wanted = new Float32Array(16 * N);
    e.read("y", wanted);
    const used = b.module.used;
    const running = e.run(SIXTEEN, { x });
    await Promise.resolve();
    w.free();
    const other = b.dense("f32", [N, N], new Float32Array(N * N).fill(7));
    await running;
    const found = new Float32Array(16 * N);
    e.read("y", found);
    expect(found).toEqual(wanted);
    other.free();
    expect(b.module.used).toBe(used - N * N * 4);
  });

  it("finish the run that they are at when the backend is closed", async () => {
    const { b, e } = await threaded();
    const running = e.run(SIXTEEN, { x: random(16 * N) });
    b.close();
    await running;
    await expect(e.run(SIXTEEN, { x: random(16 * N) })).rejects.toThrow("the backend was closed");
  });

  it("are not had where memory cannot be shared: the same bits on the calling thread", async () => {
    const { e } = await threaded();
    const x = random(16 * N);
    await e.run(SIXTEEN, { x });
    const wanted = new Float32Array(16 * N);
    e.read("y", wanted);
    vi.stubGlobal("SharedArrayBuffer", undefined);
    try {
      for (const kernels of ["relaxed-simd", "simd128"]) {
        const b = await WasmBackend.create({ threads: 2, smallWork: 0, kernels });
        open.push(b);
        expect([b.threads, b.kernels, b.module.shared]).toEqual([1, kernels, false]);
        const alone = b.compile(large(), SIXTEEN);
        alone.bind("w", b.dense("f32", [N, N], random(N * N)));
        await alone.run(SIXTEEN, { x });
        const found = new Float32Array(16 * N);
        alone.read("y", found);
        expect(found).toEqual(wanted);
      }
    } finally {
      vi.unstubAllGlobals();
    }
  });

  it("are of a number that makes sense", async () => {
    for (const threads of [0, 1.5, 65])
      await expect(WasmBackend.create({ threads })).rejects.toThrow(
        `Cannot use ${threads} threads: wanted a whole number from 1 to 64`,
      );
  });
});

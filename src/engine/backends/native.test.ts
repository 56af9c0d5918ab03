import { mkdtempSync, rmSync, truncateSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, describe, expect, it } from "vitest";
import { randomBlocks } from "../conformance/blocks.ts";
import { CASES, type Case } from "../conformance/cases.ts";
import { runCase, weightTypes } from "../conformance/run.ts";
import { add, matmul_nt, rms_norm, scale } from "../nn.ts";
import { fromPanels, toPanels } from "../panels.ts";
import { record } from "../program.ts";
import { type SampleRow, sample } from "../sampler.ts";
import { dequantize, isWritable, quantize, WEIGHT_TYPES, type WeightType } from "../weights.ts";
import { NativeBackend, type NativeOptions, type NativeStorage } from "./native.ts";

const built = NativeBackend.available();
const open: NativeBackend[] = [];
function backend(options: NativeOptions = {}): NativeBackend {
  const made = new NativeBackend({ threads: 2, ...options });
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

describe.skipIf(!built)("running", () => {
  it("multiplies on every instruction set", async () => {
    for (const kernels of NativeBackend.kernels()) {
      const b = backend({ kernels });
      const e = b.compile(product(), { T: 4, S: 1, R: 1 });
      const [x, w] = [random(16), random(128, 2)];
      e.bind("w", b.dense("f32", [16, 8], w));
      await e.run({ T: 2, S: 1, R: 1 }, { x });
      const y = new Float32Array(32);
      e.read("y", y);
      for (let t = 0; t < 2; t++)
        for (let n = 0; n < 16; n++) {
          let sum = 0;
          for (let k = 0; k < 8; k++) sum += x[t * 8 + k]! * w[n * 8 + k]!;
          expect(y[t * 16 + n]).toBeCloseTo(sum, 5);
        }
      const tail = new Float32Array(3);
      e.read("y", tail, 29);
      expect(tail).toEqual(y.subarray(29));
    }
  });

  it("meets at barriers with more threads than cores, to the same bits", async () => {
    const program = record((g) => {
      let x = g.input("x", "f32", ["T", 64]);
      const w = g.param("w", [64, 64]);
      const norm = g.param("norm", [64]);
      for (let i = 0; i < 25; i++)
        x = add(x, matmul_nt(rms_norm(scale(x, 0.5), norm, 1e-5), w, { int8: false }));
      return { y: x };
    });
    const x = random(7 * 64);
    let first: Float32Array | undefined;
    for (let threads = 1; threads <= 8; threads++) {
      const b = backend({ threads, smallWork: 0 });
      const e = b.compile(program, { T: 7, S: 1, R: 1 });
      e.bind("w", b.dense("f32", [64, 64], random(64 * 64, 3)));
      e.bind("norm", b.dense("f32", [64], random(64, 4)));
      for (let round = 0; round < 20; round++) {
        await e.run({ T: 7, S: 1, R: 1 }, { x });
        const y = new Float32Array(7 * 64);
        e.read("y", y);
        first ??= y;
        expect(y, `${threads} threads, round ${round}`).toEqual(first);
      }
    }
  });

  it("shares the pool between backends with other numbers of threads", async () => {
    const executables = [1, 3, 2].map((threads) => {
      const b = backend({ threads, smallWork: 0 });
      const e = b.compile(product(), ONE);
      e.bind("w", b.dense("f32", [16, 8], random(128, threads)));
      return e;
    });
    const x = random(8);
    const wanted: Float32Array[] = [];
    for (const e of executables) {
      await e.run(ONE, { x });
      const y = new Float32Array(16);
      e.read("y", y);
      wanted.push(y);
    }
    for (let round = 0; round < 50; round++) {
      await Promise.all(executables.map((e) => e.run(ONE, { x })));
      executables.forEach((e, i) => {
        const y = new Float32Array(16);
        e.read("y", y);
        expect(y).toEqual(wanted[i]);
      });
    }
  });

  it("leaves the event loop free", async () => {
    const b = backend({ smallWork: 0 });
    const n = 1024;
    const program = record((g) => ({
      y: matmul_nt(g.input("x", "f32", ["T", n]), g.param("w", [n, n]), { int8: false }),
    }));
    const e = b.compile(program, { T: 512, S: 1, R: 1 });
    e.bind("w", b.dense("f32", [n, n]));
    let turns = 0;
    const timer = setInterval(() => turns++, 0);
    const run = e.run({ T: 512, S: 1, R: 1 }, { x: new Float32Array(512 * n) });
    let done = false;
    void run.then(() => (done = true));
    while (!done) await new Promise(setImmediate);
    clearInterval(timer);
    expect(turns).toBeGreaterThan(0);
  });

  it("gives the event loop turns between small runs", async () => {
    const b = backend();
    const e = b.compile(product(), ONE);
    e.bind("w", b.dense("f32", [16, 8]));
    let turns = 0;
    const timer = setInterval(() => turns++, 1);
    const until = performance.now() + 60;
    while (performance.now() < until) await e.run(ONE, { x: new Float32Array(8) });
    clearInterval(timer);
    expect(turns).toBeGreaterThan(2);
  });

  // Ops of a few elements run on the calling thread unless told otherwise, so the suite of the op table does not
  // meet the pool; here every row does.
  it.each(CASES.map((c) => [`${c.op} ${c.label}`.trim(), c] as [string, Case]))(
    "gives the same bits on 1, 2 and 3 threads of the pool: %s",
    async (_name, c) => {
      for (const type of weightTypes(c).slice(-2))
        for (const T of [1, 17]) {
          const dims = { T, S: 2, R: T };
          const alone = await runCase(backend(), c, type, dims);
          for (const threads of [1, 2, 3]) {
            const found = await runCase(backend({ threads, smallWork: 0 }), c, type, dims);
            expect(found.values, `${threads} threads, T = ${T}, ${type}`).toEqual(alone.values);
          }
        }
    },
  );
});

describe.skipIf(!built)("what is refused", () => {
  it("asks for kernels that are there, and a number of threads", () => {
    expect(() => backend({ kernels: "mmx" })).toThrow(
      `Cannot use kernels "mmx": this machine and build have ${NativeBackend.kernels().join(", ")}`,
    );
    expect(() => backend({ threads: 0 })).toThrow("Cannot use 0 threads: wanted a whole number from 1 to 64");
    expect(() => backend({ threads: 65 })).toThrow("from 1 to 64");
  });

  it("names what is wrong with a binding", () => {
    const b = backend();
    const e = b.compile(product(), ONE);
    expect(() => e.bind("v", b.dense("f32", [16, 8]))).toThrow('Cannot bind "v": the program has w');
    expect(() => e.bind("w", b.dense("f32", [8, 16]))).toThrow(
      'Cannot bind "w": the storage is dense f32[8,16], wanted shape [16,8]',
    );
    expect(() => e.bind("w", b.dense("i32", [16, 8]))).toThrow("dense i32[16,8], wanted f32");
    expect(() => e.bind("w", backend().dense("f32", [16, 8]))).toThrow("belongs to another backend");
  });

  it("binds KV pages only to the layers and heads they were made for", () => {
    const c = CASES.find((c) => c.op === "kv_write")!;
    const program = record((g) => {
      const inputs = c.operands.map((o, i) =>
        o.kind === "kv" ? g.state("kv", [0]) : g.input(`in${i}`, o.kind === "ids" ? "i32" : "f32", o.shape),
      );
      g.emit("kv_write", inputs, c.attrs as never);
      return {};
    });
    const b = backend();
    const e = b.compile(program, { T: 4, S: 2, R: 1 });
    expect(() => e.bind("kv", b.kv({ ...c.kv!, layers: c.kv!.layers + 1 }))).toThrow(/layers.*wanted/);
    expect(() => e.bind("kv", b.kv({ ...c.kv!, head_dim: 8 + c.kv!.head_dim }))).toThrow(/wanted/);
    expect(() => e.bind("kv", b.dense("f32", [4]))).toThrow("wanted shape [0] (KV pages)");
    e.bind("kv", b.kv(c.kv!));
  });

  it("names what is wrong with a run", async () => {
    const b = backend({ smallWork: 0 });
    const e = b.compile(product(), { T: 4, S: 1, R: 1 });
    const x = new Float32Array(8);
    await expect(e.run(ONE, { x })).rejects.toThrow("Cannot run a program: w not bound");
    const w = b.dense("f32", [16, 8]);
    e.bind("w", w);
    await expect(e.run({ T: 5, S: 1, R: 1 }, { x })).rejects.toThrow(
      "Cannot run a program with T = 5: wanted a whole number of at most 4",
    );
    await expect(e.run({ T: 1.5, S: 1, R: 1 }, { x })).rejects.toThrow("T = 1.5");
    await expect(e.run(ONE, {})).rejects.toThrow('input "x" has no values, wanted 8 f32');
    await expect(e.run(ONE, { x: new Float32Array(9) })).rejects.toThrow(
      'input "x" has 9 f32 values, wanted 8 f32',
    );
    await expect(e.run(ONE, { x: new Int32Array(8) })).rejects.toThrow("has 8 i32 values, wanted 8 f32");
    const running = e.run(ONE, { x });
    await expect(e.run(ONE, { x })).rejects.toThrow("a run is in progress, wanted one at a time");
    expect(() => e.read("y", new Float32Array(1))).toThrow("a run is in progress");
    await running;
    expect(() => e.read("z", new Float32Array(1))).toThrow('Cannot read output "z": the program has y');
    expect(() => e.read("y", new Float32Array(17))).toThrow("elements 0 to 17, but it has 16");
    w.free();
    await expect(e.run(ONE, { x })).rejects.toThrow('the storage bound to "w" was freed');
  });

  it("an error instead of memory that was freed", async () => {
    const b = backend();
    const s = b.dense("f32", [4], Float32Array.of(1, 2, 3, 4)) as NativeStorage;
    const e = b.compile(product(), ONE);
    s.free();
    s.free();
    expect(() => b.read(s, new Float32Array(4))).toThrow("Cannot read storage: it was freed");
    expect(() => b.addon.read(s.handle, new Float32Array(4), 0)).toThrow("it was freed");
    e.free();
    e.free();
    expect(() => e.bind("w", b.dense("f32", [16, 8]))).toThrow("the executable was freed");
    await expect(e.run(ONE, { x: new Float32Array(8) })).rejects.toThrow("the executable was freed");
    b.close();
    b.close();
    expect(() => b.dense("f32", [4])).toThrow("the backend was closed");
    for (const wrong of [undefined, null, 3, "x", {}, s, Object.create(s.handle)])
      expect(() => b.addon.read(wrong as never, new Float32Array(4), 0)).toThrow(/Cannot/);
  });

  it("memory that cannot be had", () => {
    const b = backend();
    expect(() => b.dense("f32", [2 ** 44])).toThrow(`Cannot allocate dense memory: ${2 ** 46} bytes wanted`);
    expect(() => b.dense("f32", [2 ** 50])).toThrow("Cannot make dense storage of shape");
    expect(() => b.dense("f32", [-1])).toThrow("wanted whole numbers");
  });

  it("reading or writing beyond storage", () => {
    const b = backend();
    const s = b.dense("i32", [4], Int32Array.of(1, 2, 3, 4));
    b.write(s, Int32Array.of(7, 8), 2);
    const into = new Int32Array(4);
    b.read(s, into);
    expect([...into]).toEqual([1, 2, 7, 8]);
    expect(() => b.write(s, Int32Array.of(1, 2), 3)).toThrow("elements 3 to 5, but it has 4");
    expect(() => b.read(s, new Int32Array(1), -1)).toThrow(RangeError);
    expect(() => b.write(s, new Float32Array(1))).toThrow("it is dense i32, wanted dense f32");
  });

  it("freeing while running waits for the run", async () => {
    const b = backend({ smallWork: 0 });
    for (let i = 0; i < 50; i++) {
      const w = b.dense("f32", [16, 8], random(128));
      const e = b.compile(product(), ONE);
      e.bind("w", w);
      const run = e.run(ONE, { x: random(8) });
      w.free();
      e.free();
      await run;
    }
    const e = b.compile(product(), ONE);
    e.bind("w", b.dense("f32", [16, 8]));
    const run = e.run(ONE, { x: random(8) });
    b.close();
    await run;
  });
});

describe.skipIf(!built)("weights", () => {
  const dir = mkdtempSync(join(tmpdir(), "pith-native-"));
  afterAll(() => rmSync(dir, { recursive: true }));
  /** A matrix in a file behind 100 other bytes. */
  function file(type: WeightType, rows: number, cols: number) {
    const bytes = isWritable(type)
      ? quantize(type, random(rows * cols, rows))
      : randomBlocks(type, rows * cols, rows);
    const path = join(dir, `${type}-${rows}x${cols}`);
    writeFileSync(path, Buffer.concat([Buffer.alloc(100, 0xee), bytes]));
    const read = async (offset: number, length: number) =>
      bytes.subarray(offset - 100, offset - 100 + length);
    const source = { name: path, path, read };
    return {
      bytes,
      path,
      weight: { name: "w", source, offset: 100, bytes: bytes.length, type, shape: [rows, cols] },
    };
  }
  function panels(b: NativeBackend, storage: unknown): Uint8Array {
    const s = storage as NativeStorage;
    const into = new Uint8Array(s.bytes);
    b.addon.read(s.handle, into, 0);
    return into;
  }

  const SIZES = [
    [1, 32],
    [16, 64],
    [70, 96],
    [3000, 320],
  ] as const;
  const WIDE = [
    [1, 256],
    [16, 512],
    [70, 768],
    [700, 1280],
  ] as const;
  const same = (a: Uint8Array, b: Uint8Array) => Buffer.compare(a, b) === 0;

  it("are packed alike from a file, from bytes and in TypeScript", async () => {
    const b = backend();
    for (const type of Object.keys(WEIGHT_TYPES) as WeightType[])
      for (const [rows, cols] of WEIGHT_TYPES[type].blockSize > 32 ? WIDE : SIZES) {
        const { bytes, weight } = file(type, rows, cols);
        const wanted = toPanels(type as never, bytes, rows, cols);
        const fromFile = await b.weight(weight);
        expect(fromFile.bytes).toBe(wanted.length);
        expect(same(panels(b, fromFile), wanted)).toBe(true);
        const { path: _, ...source } = weight.source;
        expect(same(panels(b, await b.weight({ ...weight, source })), wanted)).toBe(true);
      }
  });

  it("have their heads put in order", async () => {
    const b = backend();
    const [rows, cols, heads] = [3072, 64, 4];
    const { bytes, weight } = file("q8_0", rows, cols);
    const size = rows / heads;
    const rowBytes = bytes.length / rows;
    const ordered = new Uint8Array(bytes.length);
    for (let h = 0; h < heads; h++)
      for (let i = 0; i < size; i++) {
        const from = (h * size + i) * rowBytes;
        ordered.set(
          bytes.subarray(from, from + rowBytes),
          (h * size + (i % 2) * (size / 2) + (i >> 1)) * rowBytes,
        );
      }
    const loaded = panels(b, await b.weight({ ...weight, interleavedHeads: heads }));
    expect(same(fromPanels("q8_0", loaded, rows, cols), ordered)).toBe(true);
    await expect(b.weight({ ...weight, interleavedHeads: 5 })).rejects.toThrow(
      "3072 rows in 5 heads, wanted an even number of rows in each",
    );
  });

  it("of one dimension are dense", async () => {
    const b = backend();
    const { bytes, weight } = file("f16", 1, 64);
    const s = await b.weight({ ...weight, shape: [64] });
    expect(s.kind).toBe("dense");
    const [found, wanted] = [new Float32Array(64), new Float32Array(64)];
    b.read(s, found);
    dequantize("f16", bytes, wanted);
    expect(found).toEqual(wanted);
  });

  it("name the file that is too short, or not there", async () => {
    const b = backend();
    const { path, weight, bytes } = file("f32", 2000, 256);
    truncateSync(path, 1_000_000);
    await expect(b.weight(weight)).rejects.toThrow(
      `Cannot read "${path}": tensor "w" ends at byte ${100 + bytes.length}, but the file has 1000000`,
    );
    const source = { ...weight.source, path: join(dir, "none") };
    await expect(b.weight({ ...weight, source })).rejects.toThrow(
      `Cannot read "${join(dir, "none")}" for tensor "w": no such file or directory`,
    );
    await expect(b.weight({ ...weight, bytes: 5 })).rejects.toThrow(
      `found 5 bytes, wanted ${bytes.length} for f32[2000,256]`,
    );
  });

  it("stop loading on an abort, and leave nothing", async () => {
    const b = backend();
    const { weight } = file("f32", 4000, 512);
    const before = b.addon.memory();
    const control = new AbortController();
    const loads = Array.from({ length: 20 }, () => b.weight(weight, control.signal));
    control.abort(new Error("enough"));
    for (const result of await Promise.allSettled(loads))
      expect(result).toMatchObject({ status: "rejected", reason: new Error("enough") });
    expect(b.addon.memory()).toBe(before);
    await expect(b.weight(weight, control.signal)).rejects.toThrow("enough");
  });

  it("stop loading when the backend closes", async () => {
    const b = backend();
    const { weight } = file("f32", 4000, 512);
    const loads = Array.from({ length: 5 }, () => b.weight(weight));
    const settled = Promise.allSettled(loads);
    b.close();
    for (const result of await settled) expect(result.status).toBe("rejected");
  });
});

describe.skipIf(!built)("sampling", () => {
  it("rides on a run, and can be asked for after it", async () => {
    const [vocab, rows] = [1000, 3];
    const program = record((g) => ({ logits: scale(g.input("x", "f32", ["R", vocab]), 1) }));
    const settings: SampleRow[] = Array.from({ length: rows }, (_, r) => ({
      temperature: r === 0 ? 0 : 0.9,
      top_k: r === 1 ? 40 : 0,
      top_p: 0.95,
      min_p: 0,
      repetition_penalty: 1.1,
      presence_penalty: 0,
      frequency_penalty: 0,
      history: { ids: Int32Array.of(3, 5), counts: Int32Array.of(1, 0), length: 2 },
      seed: [r, 7],
      counter: r,
      logprobs: r,
    }));
    for (const smallWork of [0, 1 << 30]) {
      const b = backend({ smallWork });
      const e = b.compile(program, { T: 1, S: 1, R: 4 });
      for (let round = 0; round < 5; round++) {
        const x = random(vocab * rows, 9 + round).map((v) => v * 8);
        const found = await e.run({ T: 1, S: 1, R: rows }, { x }, settings);
        const wanted = settings.map((row, r) => sample(x.subarray(r * vocab, (r + 1) * vocab), row));
        expect(found.map((f) => f.id)).toEqual(wanted.map((f) => f.id));
        expect(found.map((f) => f.top?.map((t) => t.id))).toEqual(wanted.map((f) => f.top?.map((t) => t.id)));
        expect(found[2]!.logprob).toBeCloseTo(wanted[2]!.logprob, 6);
        expect(e.sample(settings.slice(0, 1))[0]!.id).toBe(wanted[0]!.id);
      }
      expect(await e.run({ T: 1, S: 1, R: 1 }, { x: new Float32Array(vocab) })).toEqual([]);
      expect(() => e.sample(settings)).toThrow("Cannot sample 3 rows: the program has R = 1 rows of logits");
    }
  });
});

describe.skipIf(!built)("memory", () => {
  it("comes back after many cycles", async () => {
    const b = backend({ smallWork: 0 });
    const program = product();
    const cycle = async () => {
      const w = await b.weight({
        name: "w",
        source: {
          name: "w",
          read: async (offset, length) => new Uint8Array(512).subarray(offset, offset + length),
        },
        offset: 0,
        bytes: 512,
        type: "f32",
        shape: [16, 8],
      });
      const big = [b.dense("f32", [1 << 16]), b.dense("f32", [5 << 20])];
      for (const s of big) b.write(s, new Float32Array(1 << 10), 1 << 15);
      const e = b.compile(program, ONE);
      e.bind("w", w);
      await e.run(ONE, { x: new Float32Array(8) });
      for (const s of [w, ...big, e]) s.free();
    };
    for (let i = 0; i < 100; i++) await cycle();
    const [held, rss] = [b.addon.memory(), process.memoryUsage().rss];
    for (let i = 0; i < 1000; i++) await cycle();
    expect(b.addon.memory()).toBe(held);
    expect(process.memoryUsage().rss - rss).toBeLessThan(48 << 20);
  });
});

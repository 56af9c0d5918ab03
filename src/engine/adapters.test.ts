/**
 * Adapters as every backend must run them: against the reference with mixed ranks, slots and kinds; bits that depend on a
 * row and its slot alone; slots that are filled, replaced and given back.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import type { Backend, Dims, Executable, LinearChange, Storage } from "./backend.ts";
import { createBackend } from "./backends/index.ts";
import { NativeBackend } from "./backends/native.ts";
import { ReferenceBackend } from "./backends/reference.ts";
import { normal, someAdapters } from "./conformance/cases.ts";
import { nmse } from "./conformance/run.ts";
import { fuse } from "./fuse.ts";
import { add, gather_rows, lora, matmul_nt, rms_norm, swiglu } from "./nn.ts";
import { type Program, record } from "./program.ts";
import type { Recorder, Tensor } from "./tensor.ts";
import { quantize } from "./weights.ts";

const TYPES = ["f32", "f16", "q8_0", "q4_0"] as const;
type Type = (typeof TYPES)[number];
const [C, F, V] = [64, 96, 80];
const SIZES = { up: [F, C], gate: [F, C], down: [C, F], head: [V, C] } as const;
const LINEARS = Object.values(SIZES).map(([N, K]) => ({ N, K }));
const MOST: Dims = { T: 40, S: 8, R: 8 };

/** A block and a head of a decoder; `without`: the program that knows no adapters. */
function program(without = false): Program {
  return record((g: Recorder) => {
    const x = g.input("x", "f32", ["T", C]);
    const segments = g.input("segments", "i32", ["S", 4]);
    const rows = g.input("rows", "i32", ["R"]);
    const linear = (name: keyof typeof SIZES, h: Tensor) => {
      const y = matmul_nt(h, g.param(name, SIZES[name]));
      if (without) return y;
      const at = { linear: Object.keys(SIZES).indexOf(name), ...(name === "head" && { rows }) };
      return lora(y, h, g.state("adapters", [0]), segments, at);
    };
    const h = rms_norm(x, g.param("norm", [C]), 1e-5);
    const mixed = add(x, linear("down", swiglu(linear("gate", h), linear("up", h))));
    return {
      y: mixed,
      logits: linear("head", rms_norm(gather_rows(mixed, rows), g.param("last", [C]), 1e-5)),
    };
  });
}

async function weights(backend: Backend, type: Type): Promise<Map<string, Storage>> {
  const all = new Map<string, Storage>();
  for (const [i, [name, shape]] of Object.entries(SIZES).entries()) {
    const bytes = quantize(
      type,
      normal(shape[0] * shape[1], 50 + i).map((v) => v / 8),
    );
    const source = { name, read: async (at: number, n: number) => bytes.subarray(at, at + n) };
    all.set(name, await backend.weight({ name, source, offset: 0, bytes: bytes.length, type, shape }));
  }
  for (const name of ["norm", "last"])
    all.set(
      name,
      backend.dense(
        "f32",
        [C],
        normal(C, 7).map((v) => 1 + v / 8),
      ),
    );
  return all;
}

interface Made {
  run(slots: number[], lengths: number[], from?: number): Promise<{ y: Float32Array; logits: Float32Array }>;
  table: Storage;
  executable: Executable;
}

async function make(
  backend: Backend,
  type: Type,
  options: { without?: boolean; fused?: boolean } = {},
): Promise<Made> {
  const recorded = program(options.without);
  const executable = backend.compile(options.fused === false ? recorded : fuse(recorded), MOST);
  for (const [name, storage] of await weights(backend, type)) executable.bind(name, storage);
  const table = backend.adapters(
    6,
    LINEARS.map((size) => ({ ...size, type })),
  );
  if (!options.without) executable.bind("adapters", table);
  for (const [slot, changes] of someAdapters(LINEARS).entries()) backend.setAdapter(table, slot, changes);
  return {
    table,
    executable,
    /** One segment for each slot; the values of token i of all are those of row from + i. Logits of each segment's last. */
    async run(slots, lengths, from = 0) {
      const T = lengths.reduce((a, b) => a + b, 0);
      const S = slots.length;
      const starts = lengths.map((_, s) => lengths.slice(0, s).reduce((a, b) => a + b, 0));
      const x = normal(MOST.T * C, 3).subarray(from * C, (from + T) * C);
      const segments = Int32Array.from(slots.flatMap((slot, s) => [starts[s]!, lengths[s]!, 0, slot]));
      const ends = [...starts.keys()].filter((s) => lengths[s]! > 0);
      const rows = Int32Array.from(ends.toReversed(), (s) => starts[s]! + lengths[s]! - 1);
      await executable.run({ T, S, R: rows.length }, { x: x.slice(), segments, rows });
      const y = new Float32Array(T * C);
      const logits = new Float32Array(rows.length * V);
      executable.read("y", y);
      executable.read("logits", logits);
      return { y, logits };
    },
  };
}

const reference = new ReferenceBackend();
const native = NativeBackend.available() ? NativeBackend.kernels() : [];
const BACKENDS = [
  ...native.map((kernels) => ({
    label: kernels,
    options: { backend: "native", kernels, threads: 2 } as const,
  })),
  { label: "wasm", options: { backend: "wasm", threads: 1 } as const },
];
/** Slots and lengths of the segments of a step: 0 rank 4, 1 rank 16, 2 rank 70 with magnitudes, 3 replaced, 4 empty. */
const STEPS: [number[], number[]][] = [
  [[1], [1]],
  [
    [2, 0, 1],
    [1, 1, 1],
  ],
  [
    [3, -1, 0, 4, 2, 1, 1, -1],
    [1, 1, 1, 1, 1, 1, 1, 1],
  ],
  [
    [-1, 2],
    [9, 8],
  ],
  [
    [0, 3, -1, 2],
    [13, 5, 0, 20],
  ],
];

describe.each(BACKENDS)("$label", ({ options }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.close());

  test.each(TYPES)("%s: steps of mixed slots are the reference's", async (type) => {
    const [found, wanted] = [await make(backend, type), await make(reference, type)];
    for (const [slots, lengths] of STEPS) {
      const [a, b] = [await found.run(slots, lengths), await wanted.run(slots, lengths)];
      for (const name of ["y", "logits"] as const)
        expect(nmse(Float64Array.from(a[name]), Float64Array.from(b[name])), `${slots} ${name}`).toBeLessThan(
          type.startsWith("q") ? 1e-4 : 1e-9,
        );
    }
  });

  test.each(TYPES)(
    "%s: rows without an adapter have the bits of a program without adapters",
    async (type) => {
      const [found, plain] = [await make(backend, type), await make(backend, type, { without: true })];
      const [a, b] = [await found.run([-1, -1], [3, 5]), await plain.run([-1, -1], [3, 5])];
      expect(a).toEqual(b);
      const mixed = await found.run([2, -1, 1], [3, 5, 2]);
      const alone = await plain.run([-1], [5], 3);
      expect(mixed.y.subarray(3 * C, 8 * C)).toEqual(alone.y);
      expect(mixed.logits.subarray(V, 2 * V)).toEqual(alone.logits);
    },
  );

  test.each(TYPES)("%s: a row's bits are its own, whoever is beside it, fused or not", async (type) => {
    const found = await make(backend, type);
    const apart = await make(backend, type, { fused: false });
    for (const [slots, lengths] of STEPS) {
      const whole = await found.run(slots, lengths);
      expect(await apart.run(slots, lengths), `${slots}, not fused`).toEqual(whole);
      let at = 0;
      for (const [s, length] of lengths.entries()) {
        if (length > 0) {
          const cut = Math.ceil(length / 2);
          const first = await found.run([slots[s]!], [cut], at);
          expect(first.y, `${slots}, segment ${s}`).toEqual(whole.y.subarray(at * C, (at + cut) * C));
          const rest = await found.run([slots[s]!], [length - cut || 1], at + (length > cut ? cut : 0));
          const end = at + length;
          expect(rest.y.subarray(-C), `${slots}, segment ${s}`).toEqual(
            whole.y.subarray((end - 1) * C, end * C),
          );
        }
        at += length;
      }
    }
  });
});

describe.skipIf(native.length === 0)("native", () => {
  test("the same bits with any number of threads, also where the work on adapters is shared", async () => {
    const wide = { N: 48, K: 4096 };
    const run = async (threads: number) => {
      const backend = new NativeBackend({ threads, smallWork: 0 });
      const executable = backend.compile(
        record((g) => {
          const x = g.input("x", "f32", ["T", wide.K]);
          const y = matmul_nt(x, g.param("w", [wide.N, wide.K]));
          return {
            y: lora(y, x, g.state("adapters", [0]), g.input("segments", "i32", ["S", 4]), { linear: 0 }),
          };
        }),
        { T: 20, S: 4, R: 0 },
      );
      executable.bind("w", backend.dense("f32", [wide.N, wide.K], normal(wide.N * wide.K, 1)));
      const table = backend.adapters(4, [{ ...wide, type: "q4_0" }]);
      for (const [slot, changes] of someAdapters([wide]).entries()) backend.setAdapter(table, slot, changes);
      executable.bind("adapters", table);
      const y = new Float32Array(20 * wide.N);
      const segments = Int32Array.of(0, 3, 0, 2, 3, 1, 0, 1, 4, 9, 0, 0, 13, 7, 0, 3);
      await executable.run({ T: 20, S: 4, R: 0 }, { x: normal(20 * wide.K, 2), segments });
      executable.read("y", y);
      backend.close();
      return y;
    };
    const one = await run(1);
    for (const threads of [2, 3]) expect(await run(threads)).toEqual(one);
  });

  test("memory is counted while a slot is filled, and given back", async () => {
    const backend = new NativeBackend({ threads: 1 });
    const before = backend.addon.memory();
    const table = backend.adapters(2, [{ N: 512, K: 512 }]);
    const empty = backend.addon.memory();
    const change = { rank: 8, a: normal(8 * 512, 1), b: normal(512 * 8, 2) };
    backend.setAdapter(table, 1, new Map([[0, change]]));
    expect(table.bytes).toBe(16 * 512 * 4 + 512 * 8 * 4);
    expect(backend.addon.memory()).toBe(empty + table.bytes);
    backend.setAdapter(table, 1, new Map([[0, change]]));
    expect(backend.addon.memory()).toBe(empty + table.bytes);
    backend.setAdapter(table, 1, undefined);
    expect([table.bytes, backend.addon.memory()]).toEqual([0, empty]);
    backend.setAdapter(table, 0, new Map([[0, change]]));
    table.free();
    expect(backend.addon.memory()).toBe(before);
    expect(() => backend.setAdapter(table, 0, undefined)).toThrow("the table was freed");
    backend.close();
  });

  test("a slot is not changed under a run that uses it; others are", async () => {
    const backend = new NativeBackend({ threads: 2, smallWork: 0 });
    const { run, table } = await make(backend, "f32");
    const wanted = await run([1, -1], [4, 4]);
    const running = run([1, -1], [4, 4]);
    expect(() => backend.setAdapter(table, 1, undefined)).toThrow("Cannot set adapter 1: a run uses it");
    backend.setAdapter(table, 2, undefined);
    expect(await running).toEqual(wanted);
    backend.setAdapter(table, 1, undefined);
    expect((await run([1, -1], [4, 4])).y).not.toEqual(wanted.y);
    backend.close();
  });

  test("values beyond 16 bits are held: large ones by a power of two, infinite ones as they are", async () => {
    const backend = new NativeBackend({ threads: 1 });
    const [N, K] = [16, 32];
    const found = async (change: LinearChange) => {
      const executable = backend.compile(
        record((g) => {
          const [y, x] = [g.input("y", "f32", ["T", N]), g.input("x", "f32", ["T", K])];
          return {
            y: lora(y, x, g.state("adapters", [0]), g.input("segments", "i32", ["S", 4]), { linear: 0 }),
          };
        }),
        { T: 1, S: 1, R: 0 },
      );
      const table = backend.adapters(1, [{ N, K, type: "f16" }]);
      backend.setAdapter(table, 0, new Map([[0, change]]));
      executable.bind("adapters", table);
      const segments = Int32Array.of(0, 1, 0, 0);
      await executable.run(
        { T: 1, S: 1, R: 0 },
        { y: new Float32Array(N), x: new Float32Array(K).fill(1), segments },
      );
      const y = new Float32Array(N);
      executable.read("y", y);
      return y[3]!;
    };
    const a = new Float32Array(K).fill(3e20);
    const b = new Float32Array(N).fill(1e-20);
    expect(await found({ rank: 1, a, b })).toBeCloseTo(96, 0);
    expect(await found({ rank: 1, a: a.fill(1e-30), b: b.fill(3e30) })).toBeCloseTo(96, 0);
    expect(await found({ rank: 1, a: a.fill(Number.POSITIVE_INFINITY), b: b.fill(1) })).toBe(
      Number.POSITIVE_INFINITY,
    );
    expect(await found({ rank: 1, a: a.fill(1), b: b.fill(Number.NaN) })).toBeNaN();
    expect(await found({ replaced: new Float32Array(N * K).fill(1e6) })).toBe(32e6);
    backend.close();
  });
});

test("what does not fit is refused", () => {
  const backends: Backend[] =
    native.length > 0 ? [reference, new NativeBackend({ threads: 1 })] : [reference];
  for (const backend of backends) {
    const table = backend.adapters(2, [
      { N: 4, K: 8 },
      { N: 3, K: 5 },
    ]);
    const set = (slot: number, linear: number, change: LinearChange) => () =>
      backend.setAdapter(table, slot, new Map([[linear, change]]));
    const f = (n: number) => new Float32Array(n);
    expect(set(2, 0, { replaced: f(32) })).toThrow("Cannot set adapter 2: the table has 2 slots");
    expect(set(0, 2, { replaced: f(32) })).toThrow("linear 2 is none of the table's 2");
    expect(set(0, 1, { replaced: f(32) })).toThrow(
      "the replaced weight of linear 1 has 32 values, wanted 15",
    );
    expect(set(0, 1, { rank: 2, a: f(10), b: f(5) })).toThrow(
      "B of linear 1 has 5 values, wanted 6 for [3, 2]",
    );
    expect(set(0, 1, { rank: 2, a: f(9), b: f(6) })).toThrow(
      "A of linear 1 has 9 values, wanted 10 for [2, 5]",
    );
    expect(set(0, 1, { rank: 0, a: f(0), b: f(0) })).toThrow("the rank of linear 1 is 0");
    expect(() => backend.adapters(1, [{ N: 0, K: 5 }])).toThrow("linear 0 is [0, 5]");
    if (backend === reference) continue;
    const executable = backend.compile(program(), MOST);
    expect(() => executable.bind("adapters", table)).toThrow(
      'Cannot bind "adapters": linear 1 is [3, 5], wanted',
    );
    backend.close();
  }
});

test("a segment may not name a slot that the table has not", async () => {
  const backend = await createBackend({ backend: "wasm", threads: 1 });
  const { run } = await make(backend, "f32");
  await expect(run([-1, 6], [1, 1])).rejects.toThrow("segment 1 has adapter 6, but the table has 6 slots");
  backend.close();
});

/**
 * Every row of the op table on every backend, instruction set and weight type, against the float64 reference; and bit
 * for bit against itself at other step lengths and thread counts.
 */
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { COMPUTING } from "../../test/helpers/backends.ts";
import type { Backend } from "./backend.ts";
import { createBackend } from "./backends/index.ts";
import { NativeBackend } from "./backends/native.ts";
import { ReferenceBackend } from "./backends/reference.ts";
import { WasmBackend } from "./backends/wasm.ts";
import { WASM_KERNELS } from "./backends/wasm-module.ts";
import { CASES } from "./conformance/cases.ts";
import {
  dims,
  failures,
  type Outcome,
  otherBitsByLength,
  otherBitsByThreads,
  runCase,
  weightTypes,
} from "./conformance/run.ts";

const reference = new ReferenceBackend();
const native = NativeBackend.available() ? NativeBackend.kernels() : [];
describe.each(COMPUTING)("$label", ({ options }) => {
  let backend: Backend;
  beforeAll(async () => {
    backend = await createBackend(options);
  });
  afterAll(() => backend.close());

  test.each(CASES.map((c) => [`${c.op} ${c.label}`.trim(), c] as const))("%s", async (_label, c) => {
    expect(await failures(backend, reference, c)).toEqual([]);
  });
});

describe.each(native.map((kernels) => ({ kernels })))("native $kernels, the same bits", ({ kernels }) => {
  const rowwise = CASES.filter((c) => c.rowwise && c.kv === undefined);
  test.each(rowwise.map((c) => [`${c.op} ${c.label}`.trim(), c] as const))(
    "%s at any step length",
    async (_label, c) => {
      const backend = new NativeBackend({ kernels, threads: 2 });
      expect(await otherBitsByLength(backend, c)).toEqual([]);
      backend.close();
    },
  );

  // No run is small enough to stay on the calling thread.
  const make = (threads: number) => new NativeBackend({ kernels, threads, smallWork: 0 });
  test.each(CASES.map((c) => [`${c.op} ${c.label}`.trim(), c] as const))(
    "%s at any number of threads",
    async (_label, c) => {
      expect(await otherBitsByThreads(make, c)).toEqual([]);
    },
  );
});

// Relaxed instructions are used only where their result is defined, so both builds give the same bits too.
test("wasm, the same bits with any build and number of threads", async () => {
  const all = await Promise.all(
    WASM_KERNELS.flatMap((kernels) =>
      [1, 2].map((threads) => WasmBackend.create({ kernels, threads, smallWork: 0 })),
    ),
  );
  for (const c of CASES) {
    const types = weightTypes(c);
    for (const type of types) {
      let first: Outcome | undefined;
      for (const backend of all) {
        const outcome = await runCase(backend, c, type, dims(17));
        first ??= outcome;
        for (const [name, values] of first.values)
          expect(
            outcome.values.get(name),
            `${c.op} ${c.label} ${type} ${name}: ${backend.kernels}, ${backend.threads} threads`,
          ).toEqual(values);
      }
    }
  }
  for (const backend of all) backend.close();
}, 60_000);

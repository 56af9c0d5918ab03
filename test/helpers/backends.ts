// The backends that a test of models runs on: the reference, WebAssembly with every run on its threads, and what this
// machine has of native instruction sets.
import type { Backend } from "../../src/engine/backend.ts";
import { NativeBackend } from "../../src/engine/backends/native.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";
import { WasmBackend } from "../../src/engine/backends/wasm.ts";
import { WASM_KERNELS } from "../../src/engine/backends/wasm-module.ts";

type Make = () => Backend | Promise<Backend>;

const isas = NativeBackend.available() ? NativeBackend.kernels() : [];

export const backends: [name: string, make: Make][] = [
  ["reference", () => new ReferenceBackend()],
  ["wasm", () => WasmBackend.create({ threads: 2, smallWork: 0 })],
  ...isas.map((kernels): [string, Make] => [
    `native ${kernels}`,
    () => new NativeBackend({ kernels, threads: 2 }),
  ]),
];

/** What computes, by instruction set: tests of the engine compare each with the reference. */
export const COMPUTING = [
  ...isas.map((kernels) => ({
    label: `native ${kernels}`,
    options: { backend: "native", kernels, threads: 2 } as const,
  })),
  ...WASM_KERNELS.map((kernels) => ({
    label: `wasm ${kernels}`,
    options: { backend: "wasm", kernels, threads: 2 } as const,
  })),
];

// The backends that a test of models runs on: the reference, WebAssembly with every run on its threads, and what this
// machine has of native instruction sets.
import type { Backend } from "../../src/engine/backend.ts";
import { NativeBackend } from "../../src/engine/backends/native.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";
import { WasmBackend } from "../../src/engine/backends/wasm.ts";

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

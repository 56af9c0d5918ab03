// The backends that a test of models runs on: the reference, and what this machine has of the others, with every
// instruction set.
import { existsSync } from "node:fs";
import type { Backend } from "../../src/engine/backend.ts";
import { createBackend } from "../../src/engine/backends/index.ts";
import { NativeBackend } from "../../src/engine/backends/native.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";

type Make = () => Backend | Promise<Backend>;

const isas = NativeBackend.available() ? NativeBackend.kernels() : [];
const wasm = existsSync(new URL("../../src/engine/backends/wasm.ts", import.meta.url));

export const backends: [name: string, make: Make][] = [
  ["reference", () => new ReferenceBackend()],
  ...(wasm ? [["wasm", () => createBackend({ backend: "wasm" })] as [string, Make]] : []),
  ...isas.map((kernels): [string, Make] => [
    `native ${kernels}`,
    () => new NativeBackend({ kernels, threads: 2 }),
  ]),
];

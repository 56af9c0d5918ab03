// The backends that a test of models runs on: the reference, and what this machine has of the others, with every
// instruction set.
import type { Backend } from "../../src/engine/backend.ts";
import { NativeBackend } from "../../src/engine/backends/native.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";

type Make = () => Backend | Promise<Backend>;

const isas = NativeBackend.available() ? NativeBackend.kernels() : [];

export const backends: [name: string, make: Make][] = [
  ["reference", () => new ReferenceBackend()],
  ...isas.map((kernels): [string, Make] => [
    `native ${kernels}`,
    () => new NativeBackend({ kernels, threads: 2 }),
  ]),
];

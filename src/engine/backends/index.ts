/** Choosing a backend: native when its addon loads, else WASM; or the one that is asked for. */
import type { Backend } from "../backend.ts";
import { chooseThreads } from "../machine.ts";
import { NativeBackend } from "./native.ts";
import { ReferenceBackend } from "./reference.ts";
import { WasmBackend } from "./wasm.ts";

export type BackendName = Backend["name"];

export interface BackendOptions {
  /** Default: `PITH_BACKEND`, else native, else wasm. */
  readonly backend?: BackendName;
  /** Default: `PITH_THREADS`, else the cores that the process may use. */
  readonly threads?: number;
  /**
   * Instruction set: "amx", "avx512", "avx2" or "scalar" of the native backend (on 64-bit Arm
   * "i8mm", "dotprod" or "neon"), "relaxed-simd" or "simd128" of wasm. Default:
   * `PITH_KERNELS`, else the best.
   */
  readonly kernels?: string;
}

const NAMES: readonly BackendName[] = ["native", "wasm", "reference"];

/** The backend that is asked for, by an option or by `PITH_BACKEND`. @throws {TypeError} for a name that is none */
export function chosenBackend(option?: string): BackendName | undefined {
  const name = option ?? process.env.PITH_BACKEND;
  if (name === undefined || NAMES.includes(name as BackendName)) return name as BackendName | undefined;
  throw new TypeError(`Cannot use backend "${name}": wanted ${NAMES.join(", ")}`);
}

export async function createBackend(options: BackendOptions = {}): Promise<Backend> {
  const name = chosenBackend(options.backend);
  if (name === "reference") return new ReferenceBackend();
  if (name !== "wasm" && (name === "native" || NativeBackend.available())) return new NativeBackend(options);
  return WasmBackend.create({
    threads: chooseThreads(options.threads),
    kernels: options.kernels ?? (process.env.PITH_KERNELS || undefined),
  });
}

/** What `pith doctor` reports: the machine as the engine sees it, and the memory bandwidth it measures. */
import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import type { Backend } from "./backend.ts";
import { loadAddon } from "./backends/addon.ts";
import { chosenBackend } from "./backends/index.ts";
import { relaxedSimd } from "./backends/wasm-module.ts";
import { chooseThreads, cpuQuota, memory, usableCores } from "./machine.ts";

export { availableMemory } from "./machine.ts";

export interface Report {
  readonly processor: string;
  /** Processor features that matter here, e.g. "avx512vnni", "dotprod"; empty without the native addon. */
  readonly features: readonly string[];
  /** Instruction sets that can be chosen with `PITH_KERNELS`, best first; empty without the native addon. */
  readonly isas: readonly string[];
  /** The one that is used. */
  readonly kernels: string;
  readonly backend: Backend["name"];
  /** Why the native backend cannot be used, when it cannot. */
  readonly reason: string | undefined;
  readonly threads: number;
  /** Cores that the process may run on. */
  readonly cores: number;
  /** Cores' worth of time that the cgroup allows, where it sets a limit. */
  readonly quota: number | undefined;
  /** "always", "madvise" or "never"; undefined where the system has no such setting. */
  readonly hugepages: string | undefined;
  /** Bytes: of the machine, available to the process, and its cgroup's limit. */
  readonly memory: {
    readonly total: number;
    readonly available: number;
    readonly limit: number | undefined;
  };
  /** GB/s (10^9 bytes) of plain reading with 1, 2, 4, ... threads; empty without the native addon. */
  readonly bandwidth_gbps: Readonly<Record<number, number>>;
}

/** Larger than the caches of what people own, and read in a few hundredths of a second. */
const PROBE_BYTES = 256 << 20;
const PROBE_ROUNDS = 5;

/** Kernels in use of a backend that needs no addon. */
function kernelsOf(backend: "wasm" | "reference"): string {
  if (backend === "reference") return "float64";
  return process.env.PITH_KERNELS || (relaxedSimd() ? "relaxed-simd" : "simd128");
}

/** Takes about half a second, and blocks meanwhile. */
export function doctor(): Report {
  const threads = chooseThreads();
  const machine = {
    processor: cpus()[0]?.model.trim() || process.arch,
    threads,
    cores: usableCores(),
    quota: cpuQuota(),
    hugepages: hugepages(),
    memory: memory(),
  };
  try {
    const addon = loadAddon();
    const { isas, features } = addon.info();
    const backend = chosenBackend() ?? "native";
    const kernels = backend === "native" ? process.env.PITH_KERNELS || isas[0]! : kernelsOf(backend);
    const bytes = Math.min(PROBE_BYTES, Math.floor(machine.memory.available / 4));
    const bandwidth_gbps: Record<number, number> = {};
    for (const n of probedThreads(threads))
      bandwidth_gbps[n] = Math.round(addon.bandwidth(bytes, n, PROBE_ROUNDS) / 1e8) / 10;
    return { ...machine, features, isas, kernels, backend, reason: undefined, bandwidth_gbps };
  } catch (error) {
    const reason = (error as Error).message;
    const backend = chosenBackend() === "reference" ? "reference" : "wasm";
    return {
      ...machine,
      features: [],
      isas: [],
      kernels: kernelsOf(backend),
      backend,
      reason,
      bandwidth_gbps: {},
    };
  }
}

/** 1, 2, 4, ... up to `threads`, which is among them. */
function probedThreads(threads: number): number[] {
  const counts = [threads];
  for (let n = 1; n < threads; n *= 2) counts.push(n);
  return counts.sort((a, b) => a - b);
}

/** The choice that is in brackets: "always [madvise] never". */
function hugepages(): string | undefined {
  try {
    return /\[(\w+)\]/.exec(readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "utf8"))?.[1];
  } catch {
    return undefined;
  }
}

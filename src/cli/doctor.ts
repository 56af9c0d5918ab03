// pith doctor: what pith finds on this machine, and what it will use.

import { readFileSync } from "node:fs";
import { cpus } from "node:os";
import { loadAddon } from "../engine/backends/addon.ts";
import { createBackend } from "../engine/backends/index.ts";
import { chooseThreads, cpuQuota, memory, usableCores } from "../engine/machine.ts";
import { readBandwidth } from "./bench.ts";
import { bytes, figure, printJson, printTable } from "./output.ts";

export async function doctor(options: { json?: boolean }): Promise<void> {
  const threads = chooseThreads();
  const backend = await createBackend().then(
    (b) => {
      b.close();
      return { name: b.name, kernels: b.kernels, threads: b.threads };
    },
    (error: unknown) => ({ error: error instanceof Error ? error.message : String(error) }),
  );
  const read = (n: number) => {
    const value = readBandwidth(n);
    return value === undefined ? null : value / 1e9;
  };
  const result = {
    pith: JSON.parse(readFileSync(new URL("../../package.json", import.meta.url), "utf8")).version as string,
    node: process.version,
    platform: `${process.platform}-${process.arch}`,
    processor: cpus()[0]?.model ?? "unknown",
    cores: { machine: cpus().length, usable: usableCores(), quota: cpuQuota() ?? null },
    ...native(),
    backend,
    threads,
    huge_pages: hugePages(),
    memory: memory(),
    bandwidth_gb_per_second: { one_thread: read(1), all_threads: read(threads) },
  };
  if (options.json) return printJson(result);
  const { cores, memory: ram, bandwidth_gb_per_second: bandwidth } = result;
  const gb = (value: number | null) =>
    value === null ? "not measured (native backend only)" : `${figure(value)} GB/s`;
  printTable([
    ["pith", `${result.pith} on Node ${result.node}, ${result.platform}`],
    [
      "processor",
      `${result.processor}, ${cores.machine} cores, ${cores.usable} usable${cores.quota === null ? "" : ` (quota ${figure(cores.quota)})`}`,
    ],
    ["features", "features" in result ? result.features.join(" ") : "unknown"],
    [
      "native addon",
      "native_error" in result
        ? result.native_error
        : `loads, kernels ${result.available_kernels.join(", ")}`,
    ],
    ["backend", "error" in backend ? backend.error : `${backend.name}, kernels ${backend.kernels}`],
    ["threads", String(threads)],
    ["huge pages", result.huge_pages],
    [
      "memory",
      `${bytes(ram.total)}, ${bytes(ram.available)} available${ram.limit === undefined ? "" : `, limited to ${bytes(ram.limit)}`}`,
    ],
    ["bandwidth", `${gb(bandwidth.one_thread)} with 1 thread, ${gb(bandwidth.all_threads)} with ${threads}`],
  ]);
}

function native(): { features: string[]; available_kernels: string[] } | { native_error: string } {
  try {
    const { features, isas } = loadAddon().info();
    return { features, available_kernels: isas };
  } catch (error) {
    return { native_error: error instanceof Error ? error.message : String(error) };
  }
}

/** How the kernel gives 2 MiB pages: "madvise" and "always" serve pith. */
function hugePages(): string {
  try {
    const text = readFileSync("/sys/kernel/mm/transparent_hugepage/enabled", "utf8");
    return /\[(\w+)\]/.exec(text)?.[1] ?? "unknown";
  } catch {
    return "unknown";
  }
}

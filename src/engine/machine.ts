/**
 * What this process may use of the machine: cores and memory, within the limits of its cgroup (version 2 or 1); and the
 * memory that it has.
 * Facts only; who needs what is decided elsewhere.
 */
import { readFileSync } from "node:fs";
import { availableParallelism, freemem, totalmem } from "node:os";
import { join } from "node:path";

/** Most threads that one program runs on; MAX_THREADS in kernels/pith.h. */
const MAX_THREADS = 64;

/** Bytes that may still be taken. Page cache counts as available, as the kernel gives it back. */
export function availableMemory(): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  const rooms = memoryCgroups().map(({ limit, usage, cache }) => Math.max(0, limit - usage + cache));
  return Math.min(kib ? Number(kib) * 1024 : freemem(), ...rooms);
}

/** Bytes: of the machine, available to this process, and the limit that its cgroup sets. */
export function memory(): { total: number; available: number; limit: number | undefined } {
  const limit = Math.min(...memoryCgroups().map((group) => group.limit));
  return {
    total: totalmem(),
    available: availableMemory(),
    limit: limit < totalmem() ? limit : undefined,
  };
}

/** Cores' worth of time that the cgroup allows, e.g. 1.5. */
export function cpuQuota(): number | undefined {
  const quotas = [
    ...folders("cpu", "/sys/fs/cgroup").map((dir) => read(join(dir, "cpu.max")).split(/\s+/).map(Number)),
    ...folders("cpu", "/sys/fs/cgroup/cpu").map((dir) =>
      ["quota", "period"].map((name) => Number(read(join(dir, `cpu.cfs_${name}_us`)) || Number.NaN)),
    ),
  ]
    .map(([quota, period]) => quota! / period!) // "max" is NaN: no limit; so is -1 of version 1
    .filter((cores) => cores > 0);
  return quotas.length > 0 ? Math.min(...quotas) : undefined;
}

/** Cores that this process may run on: its affinity, within the quota. */
export function usableCores(): number {
  return Math.max(1, Math.min(availableParallelism(), Math.floor(cpuQuota() ?? Number.POSITIVE_INFINITY)));
}

/**
 * Threads to compute with: as asked for, else `PITH_THREADS`, else one for each usable core.
 * @throws {RangeError} when that is not a whole number from 1 to 64
 */
export function chooseThreads(asked?: number): number {
  const given = asked ?? process.env.PITH_THREADS;
  if (given === undefined || given === "") return Math.min(MAX_THREADS, usableCores());
  const threads = Number(given);
  if (Number.isInteger(threads) && threads >= 1 && threads <= MAX_THREADS) return threads;
  throw new RangeError(`Cannot use ${given} threads: wanted a whole number from 1 to ${MAX_THREADS}`);
}

interface MemoryGroup {
  readonly limit: number;
  readonly usage: number;
  readonly cache: number;
}

/** Every group with a limit, from the process's own up to the root. */
function memoryCgroups(): MemoryGroup[] {
  const group = (dir: string, limit: string, usage: string, cache: string): MemoryGroup => ({
    limit: Number(read(join(dir, limit)).trim() || Number.NaN), // "max" is NaN: no limit
    usage: Number(read(join(dir, usage)).trim() || Number.NaN),
    cache: Number(new RegExp(`^${cache} (\\d+)$`, "m").exec(read(join(dir, "memory.stat")))?.[1] ?? 0),
  });
  return [
    ...folders("memory", "/sys/fs/cgroup").map((dir) =>
      group(dir, "memory.max", "memory.current", "inactive_file"),
    ),
    ...folders("memory", "/sys/fs/cgroup/memory").map((dir) =>
      group(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"),
    ),
  ].filter(({ limit, usage }) => Number.isFinite(limit) && Number.isFinite(usage));
}

/**
 * The folder of this process's cgroup under a mount, and its parents. In a container the path may lead outside the
 * mount: then the mount's root holds.
 */
function folders(controller: string, mount: string): string[] {
  const version1 = mount.endsWith(`/${controller}`);
  const line = read("/proc/self/cgroup")
    .split("\n")
    .find((line) =>
      version1 ? line.split(":")[1]?.split(",").includes(controller) : line.startsWith("0::"),
    );
  if (line === undefined) return [];
  const parts = (line.split(":")[2] ?? "").split("/").filter((part) => part !== "" && part !== "..");
  return Array.from({ length: parts.length + 1 }, (_, i) => join(mount, ...parts.slice(0, parts.length - i)));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

/** Watches the memory of this process while `work` runs. */
export async function withPeak<T>(work: () => Promise<T>): Promise<{ value: T; peak_bytes: number }> {
  let peak = process.memoryUsage.rss();
  const timer = setInterval(() => {
    peak = Math.max(peak, process.memoryUsage.rss());
  }, 100);
  timer.unref();
  try {
    const value = await work();
    return { value, peak_bytes: Math.max(peak, process.memoryUsage.rss()) };
  } finally {
    clearInterval(timer);
  }
}

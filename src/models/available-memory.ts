// How much memory this process may still take: the system's, within the limits of its cgroup.

import { readFileSync } from "node:fs";
import { freemem } from "node:os";
import { join } from "node:path";

/** Bytes. Page cache counts as available, as the kernel gives it back. */
export function availableMemory(): number {
  return Math.min(systemMemory(), ...cgroupMemory());
}

function systemMemory(): number {
  const kib = /^MemAvailable:\s+(\d+) kB$/m.exec(read("/proc/meminfo"))?.[1];
  return kib ? Number(kib) * 1024 : freemem();
}

/** What is left in each cgroup from the process's own up to the root; version 2, then version 1. */
function cgroupMemory(): number[] {
  const lines = read("/proc/self/cgroup").split("\n");
  const own = lines.find((line) => line.startsWith("0::"))?.slice(3);
  const left: number[] = [];
  if (own !== undefined)
    for (const dir of upwards("/sys/fs/cgroup", own))
      left.push(room(dir, "memory.max", "memory.current", "inactive_file"));
  const v1 = lines.find((line) => /^\d+:([^:]*,)?memory(,[^:]*)?:/.test(line))?.split(":")[2];
  if (v1 !== undefined)
    for (const dir of upwards("/sys/fs/cgroup/memory", v1))
      left.push(room(dir, "memory.limit_in_bytes", "memory.usage_in_bytes", "total_inactive_file"));
  return left;
}

/** The folder of a cgroup and its parents. In a container the path may lead outside: the mount's root then holds. */
function upwards(mount: string, path: string): string[] {
  const parts = path.split("/").filter((part) => part !== "" && part !== "..");
  return Array.from({ length: parts.length + 1 }, (_, i) => join(mount, ...parts.slice(0, parts.length - i)));
}

function room(dir: string, limitFile: string, usageFile: string, cacheLine: string): number {
  const limit = Number(read(join(dir, limitFile)).trim() || Number.NaN); // "max" is NaN: no limit
  const usage = Number(read(join(dir, usageFile)).trim() || Number.NaN);
  if (!Number.isFinite(limit) || !Number.isFinite(usage)) return Number.POSITIVE_INFINITY;
  const cache = new RegExp(`^${cacheLine} (\\d+)$`, "m").exec(read(join(dir, "memory.stat")))?.[1];
  return Math.max(0, limit - usage + Number(cache ?? 0));
}

function read(path: string): string {
  try {
    return readFileSync(path, "utf8");
  } catch {
    return "";
  }
}

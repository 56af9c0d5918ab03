// What computing costs: joules where the system tells them, processor time everywhere.

import { readdir, readFile } from "node:fs/promises";
import { join } from "node:path";

const POWERCAP = "/sys/class/powercap";

/** A counter of a processor package: microjoules, which begin again at 0 after `range`. */
interface Counter {
  readonly path: string;
  readonly range: number;
}

/**
 * Counters of Linux's powercap (RAPL) that this process may read: one for each package, whose parts are not counted again.
 * Empty on other systems, in most virtual machines, and where only root may read them.
 */
export async function energyCounters(folder = POWERCAP): Promise<Counter[]> {
  const names = await readdir(folder).catch(() => []);
  const found: Counter[] = [];
  for (const name of names.sort()) {
    // "intel-rapl:0"; AMD's processors have the same name. "intel-rapl:0:0" is a part of it, "-mmio" the same again.
    if (!/^[a-z]+-rapl:\d+$/.test(name)) continue;
    const path = join(folder, name, "energy_uj");
    const [label, value, range] = await Promise.all(
      ["name", "energy_uj", "max_energy_range_uj"].map((file) =>
        readFile(join(folder, name, file), "utf8").catch(() => ""),
      ),
    );
    if (!/^package/.test(label!) || !/^\d+$/.test(value!.trim())) continue;
    found.push({ path, range: Number(range) || 0 });
  }
  return found;
}

/** Joules of all counters between two readings; undefined where one cannot be read any more. */
export async function startEnergy(
  counters: readonly Counter[],
): Promise<(() => Promise<number | undefined>) | undefined> {
  if (counters.length === 0) return undefined;
  const read = () => Promise.all(counters.map(async ({ path }) => Number(await readFile(path, "utf8"))));
  const before = await read().catch(() => undefined);
  if (!before) return undefined;
  return async () => {
    const after = await read().catch(() => undefined);
    return after?.reduce((sum, value, i) => {
      const used = value - before[i]!;
      return sum + (used < 0 ? used + counters[i]!.range : used) / 1e6;
    }, 0);
  };
}

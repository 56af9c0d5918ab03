// Which adapter is in which slot of the table. A cache: a slot keeps its adapter after its last sequence, and is given to
// another when one is needed, the least recently used first. There are as many as sequences in a step, so one is free.

import type { AdapterTable } from "../models/runtime.ts";
import type { AdapterUse } from "./sequence.ts";

export class AdapterSlots {
  readonly #table: AdapterTable;
  /** Key -> slot, the least recently used first. */
  readonly #known = new Map<string, number>();
  readonly #free: number[];
  #wanted: ReadonlySet<string> = new Set();

  constructor(table: AdapterTable) {
    this.#table = table;
    this.#free = Array.from({ length: table.slots }, (_, i) => table.slots - 1 - i);
  }

  /** The keys of the step to come: their slots stay. Not while a step is running. */
  begin(keys: Iterable<string>): void {
    this.#wanted = new Set(keys);
  }

  /** The slot of one of the step's adapters, filled if it was not. @throws what filling throws */
  slotOf(use: AdapterUse): number {
    let slot = this.#known.get(use.key);
    if (slot === undefined) {
      slot = this.#free.pop() ?? this.#evict();
      try {
        this.#table.set(slot, use.changes());
      } catch (error) {
        this.#free.push(slot);
        throw error;
      }
    }
    this.#known.delete(use.key);
    this.#known.set(use.key, slot);
    return slot;
  }

  #evict(): number {
    for (const [key, slot] of this.#known) {
      if (this.#wanted.has(key)) continue;
      this.#known.delete(key);
      return slot;
    }
    throw new RangeError(`Cannot run more than ${this.#table.slots} adapters in a step`);
  }

  /** Empties the slots that hold an adapter, alone or with others. Not while a sequence runs with it. */
  forget(digest: string): void {
    for (const [key, slot] of this.#known) {
      if (!key.includes(digest)) continue;
      this.#known.delete(key);
      this.#table.set(slot, undefined);
      this.#free.push(slot);
    }
  }
}

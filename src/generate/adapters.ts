// The adapters attached to a model: by name, with a scale, loaded once for each digest. Detaching waits for those who
// use one. Knows no files (the loader is given) and no slots (the engine's).

import { basename } from "node:path";
import type { LinearChange } from "../engine/backend.ts";
import {
  type AdapterLoader,
  adapterKey,
  composeAdapters,
  type LinearTarget,
  type LoadedAdapter,
  type ScaledAdapter,
} from "../models/index.ts";
import type { AdapterUse } from "./sequence.ts";

export interface AttachOptions {
  /** What `generate` knows it by. Default: the name of its folder or file. */
  readonly name?: string;
  /** Times its own alpha / rank, where `generate` says nothing else. Default 1. */
  readonly scale?: number;
  readonly signal?: AbortSignal;
}

/** An adapter that is attached. Disposing of it detaches it. */
export interface Adapter extends AsyncDisposable {
  readonly name: string;
  /** SHA-256 of its files: its identity. */
  readonly digest: string;
  readonly format: "peft" | "gguf";
  readonly scale: number;
  /** The largest of its pairs; 0 where it only replaces whole weights. */
  readonly rank: number;
  /** Paths of the linears that it changes. */
  readonly targets: readonly string[];
  /** Of its values. */
  readonly bytes: number;
  /** Takes it off: no new generation gets it, those that have it end first. More than once is no error. */
  detach(): Promise<void>;
}

type One = string | Adapter | { readonly adapter: string | Adapter; readonly scale?: number };
/** Attached adapters by name or handle, each with its own scale if wanted. Several count together, in this order. */
export type AdapterChoice = One | readonly One[];

interface Attached {
  readonly handle: Adapter;
  readonly loaded: LoadedAdapter;
  /** Sequences that run or wait with it. */
  users: number;
  detached: boolean;
  onFree: (() => void) | undefined;
  freed: Promise<void> | undefined;
}

export class Adapters {
  readonly #model: string;
  readonly #load: AdapterLoader | undefined;
  readonly #targets: ReadonlyMap<string, LinearTarget>;
  readonly #forget: (digest: string) => void;
  readonly #byName = new Map<string, Attached>();
  /** Names that are being attached: a name is given once. */
  readonly #coming = new Map<string, Promise<Adapter>>();

  /**
   * @param load absent: none can be attached
   * @param forget called when nothing attached has a digest any more
   */
  constructor(
    model: string,
    load: AdapterLoader | undefined,
    targets: ReadonlyMap<string, LinearTarget> = new Map(),
    forget: (digest: string) => void,
  ) {
    this.#model = model;
    this.#load = load;
    this.#targets = targets;
    this.#forget = forget;
  }

  get attached(): Adapter[] {
    return [...this.#byName.values()].map(({ handle }) => handle);
  }

  /**
   * The adapter of a name, or attaches one by its path; the same again (name, digest, scale) gives the same handle.
   * @throws {Error} when it does not fit the model, or its name is taken by another
   */
  async adapter(nameOrPath: string, options: AttachOptions = {}): Promise<Adapter> {
    const there = this.#byName.get(nameOrPath)?.handle;
    if (
      there &&
      (options.name ?? nameOrPath) === nameOrPath &&
      (options.scale ?? there.scale) === there.scale
    )
      return there;
    const { name = nameOf(nameOrPath), scale = 1, signal } = options;
    checkScale(name, scale);
    if (name === "") throw new TypeError(`Cannot attach ${JSON.stringify(nameOrPath)}: its name is empty`);
    await this.#coming.get(name)?.catch(() => undefined);
    const coming = this.#attach(nameOrPath, name, scale, signal);
    this.#coming.set(name, coming);
    try {
      return await coming;
    } finally {
      if (this.#coming.get(name) === coming) this.#coming.delete(name);
    }
  }

  async #attach(path: string, name: string, scale: number, signal?: AbortSignal): Promise<Adapter> {
    if (!this.#load)
      throw new TypeError(
        `Cannot attach ${JSON.stringify(path)} to ${JSON.stringify(this.#model)}: it takes no adapters`,
      );
    const loaded = await this.#load(path, (digest) => this.#ofDigest(digest)?.loaded, signal);
    const there = this.#byName.get(name);
    if (there) {
      if (there.handle.digest === loaded.digest && there.handle.scale === scale) return there.handle;
      const found =
        there.handle.digest === loaded.digest
          ? `is attached with scale ${there.handle.scale}`
          : "is the name of another adapter";
      throw new Error(
        `Cannot attach ${JSON.stringify(path)} with scale ${scale}: ${JSON.stringify(name)} ${found}; give another name, or a scale with generate`,
      );
    }
    // Adapters that came meanwhile share what is in memory.
    const shared = this.#ofDigest(loaded.digest)?.loaded ?? loaded;
    const { digest, format, rank, bytes, changes } = shared;
    const detach = () => this.#detach(attached);
    const handle: Adapter = {
      name,
      digest,
      format,
      scale,
      rank,
      targets: [...changes.keys()],
      bytes,
      detach,
      [Symbol.asyncDispose]: detach,
    };
    const attached: Attached = {
      handle,
      loaded: shared,
      users: 0,
      detached: false,
      onFree: undefined,
      freed: undefined,
    };
    this.#byName.set(name, attached);
    return handle;
  }

  #ofDigest(digest: string): Attached | undefined {
    return [...this.#byName.values()].find(({ handle }) => handle.digest === digest);
  }

  async #detach(attached: Attached): Promise<void> {
    const { handle } = attached;
    if (!attached.detached) {
      attached.detached = true;
      this.#byName.delete(handle.name);
      attached.freed =
        attached.users === 0
          ? Promise.resolve()
          : new Promise((resolve) => {
              attached.onFree = resolve;
            });
      attached.freed = attached.freed.then(() => {
        if (!this.#ofDigest(handle.digest)) this.#forget(handle.digest);
      });
    }
    await attached.freed;
  }

  /**
   * What a sequence runs with, and what to call when it has ended.
   * @throws {RangeError | TypeError} for one that is not attached, a scale that is no number, or adapters that cannot be
   *   put together
   */
  use(choice: AdapterChoice | undefined): { use: AdapterUse; release(): void } | undefined {
    const list: readonly One[] = choice === undefined ? [] : Array.isArray(choice) ? choice : [choice as One];
    if (list.length === 0) return undefined;
    const parts = list.map((one) => {
      const isChoice = typeof one === "object" && one !== null && "adapter" in one;
      const attached = this.#find(isChoice ? one.adapter : (one as string | Adapter));
      const scale = (isChoice ? one.scale : undefined) ?? attached.handle.scale;
      checkScale(attached.handle.name, scale);
      return { attached, scale };
    });
    const scaled: ScaledAdapter[] = parts.map(({ attached, scale }) => ({
      adapter: attached.loaded,
      scale,
    }));
    let changes: Map<number, LinearChange> | undefined;
    const compose = () => composeAdapters(scaled, this.#targets);
    // One alone always fits; of several, what does not add up is found out now.
    if (scaled.length > 1) changes = compose();
    for (const { attached } of parts) attached.users++;
    let released = false;
    return {
      use: {
        key: adapterKey(scaled),
        changes: () => {
          const made = changes ?? compose();
          changes = undefined;
          return made;
        },
      },
      release: () => {
        if (released) return;
        released = true;
        for (const { attached } of parts) if (--attached.users === 0) attached.onFree?.();
      },
    };
  }

  #find(wanted: string | Adapter): Attached {
    const name = typeof wanted === "string" ? wanted : wanted?.name;
    const attached = typeof name === "string" ? this.#byName.get(name) : undefined;
    if (attached && (typeof wanted === "string" || attached.handle === wanted)) return attached;
    const names = [...this.#byName.keys()].map((known) => JSON.stringify(known)).join(", ");
    throw new RangeError(
      `Cannot generate with adapter ${JSON.stringify(name)}: it is not attached, wanted ${names === "" ? "one that is: see model.adapter" : `one of ${names}`}`,
    );
  }
}

function nameOf(path: string): string {
  return basename(path).replace(/\.gguf$/i, "");
}

function checkScale(name: string, scale: number): void {
  if (typeof scale !== "number" || !Number.isFinite(scale))
    throw new RangeError(`Cannot use adapter ${JSON.stringify(name)} with scale ${scale}: wanted a number`);
}

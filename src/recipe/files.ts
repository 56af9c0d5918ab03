// Digests of files and folders: what "changed" means. A file whose size and times are as they were is not read again.

import { createHash } from "node:crypto";
import { createReadStream } from "node:fs";
import { readdir, readFile, stat } from "node:fs/promises";
import { join, relative } from "node:path";
import { writeFileAtomic } from "../formats/index.ts";
import { fail } from "../formats/source.ts";

/** Size, times of change of content and of entry in ms, SHA-256. */
type Known = readonly [size: number, mtime: number, ctime: number, sha256: string];

/** File -> SHA-256. */
export type FileDigests = Readonly<Record<string, string>>;

/**
 * What a run notes of itself: not part of what it makes, and in parts another time another. Hidden files are not either.
 * Checkpoints may be deleted when a run is done.
 */
const NOTES = /^(report\.html|.*\.report\.html|metrics\.jsonl|prune\.json|quantize\.json|checkpoints)$/;

const MODEL_FILE = /^[^.].*\.(safetensors|gguf|json|jinja|model|txt)$/;

export class Digests {
  readonly #file: string;
  readonly #known: Map<string, Known>;
  #changed = false;

  private constructor(file: string, known: Map<string, Known>) {
    this.#file = file;
    this.#known = known;
  }

  /** @param file where they are kept; what is no such file counts as none */
  static async open(file: string): Promise<Digests> {
    try {
      return new Digests(file, new Map(Object.entries(JSON.parse(await readFile(file, "utf8")))));
    } catch {
      return new Digests(file, new Map());
    }
  }

  async save(): Promise<void> {
    if (!this.#changed) return;
    await writeFileAtomic(this.#file, `${JSON.stringify(Object.fromEntries(this.#known))}\n`);
    this.#changed = false;
  }

  /** SHA-256 of a file. @throws {Error} when it cannot be read */
  async ofFile(path: string): Promise<string> {
    const { size, mtimeMs, ctimeMs } = await stat(path).catch((cause) => fail("read", path, cause));
    const name = relative(join(this.#file, ".."), path);
    const known = this.#known.get(name);
    if (known && known[0] === size && known[1] === mtimeMs && known[2] === ctimeMs) return known[3];
    const hash = createHash("sha256");
    try {
      for await (const chunk of createReadStream(path)) hash.update(chunk as Uint8Array);
    } catch (cause) {
      fail("read", path, cause);
    }
    const sha256 = hash.digest("hex");
    this.#known.set(name, [size, mtimeMs, ctimeMs, sha256]);
    this.#changed = true;
    return sha256;
  }

  /** Of every file of a folder that counts, by its path in it. */
  async ofFolder(path: string): Promise<FileDigests> {
    const found: Record<string, string> = {};
    for (const name of await filesOf(path)) found[name] = await this.ofFile(join(path, name));
    return found;
  }

  /** One digest of a model that no step made: of a folder only files that models have count, and none below. */
  async ofModel(path: string): Promise<string> {
    const there = await stat(path).catch((cause) => fail("read", path, cause));
    if (!there.isDirectory()) return this.ofFile(path);
    const found: Record<string, string> = {};
    for (const name of await readdir(path))
      if (MODEL_FILE.test(name) && !NOTES.test(name)) found[name] = await this.ofFile(join(path, name));
    return digestOf(found);
  }

  /** One digest of a file, or of a folder. @throws {Error} when there is neither */
  async of(path: string): Promise<string> {
    const there = await stat(path).catch((cause) => fail("read", path, cause));
    return there.isDirectory() ? digestOf(await this.ofFolder(path)) : this.ofFile(path);
  }
}

/** Paths of the files in a folder that count, sorted, "/" between their parts. */
export async function filesOf(folder: string, below = ""): Promise<string[]> {
  const found: string[] = [];
  for (const name of (await readdir(join(folder, below))).sort()) {
    if (name.startsWith(".") || NOTES.test(name)) continue;
    const path = below === "" ? name : `${below}/${name}`;
    if ((await stat(join(folder, path))).isDirectory()) found.push(...(await filesOf(folder, path)));
    else found.push(path);
  }
  return found;
}

/** Of files together. */
export function digestOf(files: FileDigests): string {
  const sorted = Object.entries(files).sort(([a], [b]) => (a < b ? -1 : 1));
  return createHash("sha256").update(JSON.stringify(sorted)).digest("hex");
}

// A cursor over the head of a source: little-endian fields in order, fetched in bounded chunks, every length
// compared with what is left of the file before anything is allocated. Knows no format.

import { decodeText, wrongField } from "./errors.ts";
import { decodeUtf8 } from "./gguf-values.ts";
import type { Source } from "./source.ts";

const FIRST_CHUNK_BYTES = 128 * 1024;
const MAX_CHUNK_BYTES = 4 * 2 ** 20;
/** No real header comes near this: the largest vocabularies with their merges take 30 MB. */
const MAX_HEADER_BYTES = 256 * 2 ** 20;

export class HeaderReader {
  readonly #source: Source;
  #chunk = new Uint8Array(0);
  #view = new DataView(this.#chunk.buffer);
  /** Position in the source of the chunk's first byte, and of the cursor in the chunk. */
  #chunkStart = 0;
  #at = 0;
  /** While not undefined, the chunk keeps its bytes from here (a position in the source) on. */
  #held: number | undefined;

  constructor(source: Source) {
    this.#source = source;
  }

  /** Position of the next byte in the source. */
  get position(): number {
    return this.#chunkStart + this.#at;
  }

  /** Bytes of the source from the cursor to its end. */
  get remaining(): number {
    return this.#source.size - this.position;
  }

  error(what: string, found: string | number | bigint, wanted: string): SyntaxError {
    return wrongField(this.#source, what, found, wanted);
  }

  async uint32(what: string): Promise<number> {
    await this.#need(4, what);
    this.#at += 4;
    return this.#view.getUint32(this.#at - 4, true);
  }

  async uint64(what: string): Promise<bigint> {
    await this.#need(8, what);
    this.#at += 8;
    return this.#view.getBigUint64(this.#at - 8, true);
  }

  /** A 64-bit count, length or position, at most `max`. */
  async size(what: string, max: number): Promise<number> {
    const value = await this.uint64(what);
    if (value > BigInt(max)) throw this.error(what, value, `at most ${max}`);
    return Number(value);
  }

  /** Throws unless `count` items of at least `itemBytes` each can still follow. */
  checkRoom(count: number, itemBytes: number, what: string): void {
    if (count * itemBytes > this.remaining) {
      throw this.error(what, count, `no more than the ${this.remaining} bytes left in the file can hold`);
    }
  }

  /** The next `length` bytes, a copy. */
  async bytes(length: number, what: string): Promise<Uint8Array<ArrayBuffer>> {
    this.checkRoom(length, 1, what);
    await this.#need(length, what);
    this.#at += length;
    return this.#chunk.slice(this.#at - length, this.#at);
  }

  /** A string with its 64-bit length before it; what is not UTF-8 becomes U+FFFD, or throws if `fatal`. */
  async string(what: string, maxBytes: number, fatal: boolean): Promise<string> {
    const length = await this.size(`length of ${what}`, maxBytes);
    this.checkRoom(length, 1, `length of ${what}`);
    await this.#need(length, what);
    this.#at += length;
    if (!fatal) return decodeUtf8(this.#chunk, this.#at - length, this.#at);
    return decodeText(this.#source, what, this.#chunk.subarray(this.#at - length, this.#at));
  }

  /**
   * `count` strings, each with its 64-bit length before it, as one copy of their bytes (lengths included)
   * and the end of each in it.
   */
  async strings(
    count: number,
    what: string,
    maxBytes: number,
  ): Promise<{ bytes: Uint8Array; ends: Uint32Array }> {
    this.checkRoom(count, 8, `length of ${what}`);
    const ends = new Uint32Array(count);
    const start = this.position;
    this.#held = start;
    for (let i = 0; i < count; i++) {
      if (this.#left() < 8) await this.#fill(8, what);
      const length = this.#view.getUint32(this.#at, true);
      if (this.#view.getUint32(this.#at + 4, true) !== 0 || length > maxBytes) {
        throw this.error(
          `length of string ${i} of ${what}`,
          this.#view.getBigUint64(this.#at, true),
          `at most ${maxBytes}`,
        );
      }
      if (this.#left() < 8 + length) {
        this.checkRoom(8 + length, 1, `length of string ${i} of ${what}`);
        await this.#fill(8 + length, what);
      }
      this.#at += 8 + length;
      ends[i] = this.#chunkStart + this.#at - start;
    }
    this.#held = undefined;
    return { bytes: this.#chunk.slice(start - this.#chunkStart, this.#at), ends };
  }

  #left(): number {
    return this.#chunk.length - this.#at;
  }

  // Not async, so that a field that is already here costs no promise of its own.
  #need(length: number, what: string): Promise<void> | undefined {
    return this.#left() < length ? this.#fill(length, what) : undefined;
  }

  /** Makes the next `length` bytes lie in the chunk. */
  async #fill(length: number, what: string): Promise<void> {
    if (length > this.remaining) {
      throw new SyntaxError(
        `Cannot read ${JSON.stringify(this.#source.name)}: it ends at byte ${this.#source.size}, inside ${what}, which wants ${length} bytes from ${this.position}`,
      );
    }
    if (this.position + length > MAX_HEADER_BYTES) {
      throw this.error("its header", `longer than ${MAX_HEADER_BYTES} bytes`, "a shorter one");
    }
    const keepFrom = (this.#held ?? this.position) - this.#chunkStart;
    const kept = this.#chunk.subarray(keepFrom);
    const from = this.#chunkStart + this.#chunk.length;
    // At least as much as is kept, so that a long held run is copied a bounded number of times.
    const ahead = Math.max(
      length,
      kept.length,
      Math.min(Math.max(from * 2, FIRST_CHUNK_BYTES), MAX_CHUNK_BYTES),
    );
    const fresh = await this.#source.read(from, Math.min(ahead, this.#source.size - from));
    const chunk = new Uint8Array(kept.length + fresh.length);
    chunk.set(kept);
    chunk.set(fresh, kept.length);
    this.#chunkStart += keepFrom;
    this.#at -= keepFrom;
    this.#chunk = chunk;
    this.#view = new DataView(chunk.buffer);
  }
}

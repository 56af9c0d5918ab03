// What a teacher said of samples, in a file: the likeliest k tokens of every learned position, made once, so that training
// needs no teacher. A record for each sample, under a checksum; a file that is not whole has another name, and is gone on
// with. Little-endian:
//
//   "pith logits 1\n" | u32 bytes of the header | header: JSON | records
//   record: u32 CRC-32 of the rest | ids, u16 or u32 [n, k] | log-probabilities, f16 [n, k]

import { createHash } from "node:crypto";
import { type FileHandle, open, rename, stat } from "node:fs/promises";
import { crc32 } from "node:zlib";
import { f16ToF32Array, f32ToF16Array } from "../engine/half.ts";
import { fail } from "../formats/source.ts";
import type { Sample } from "../train/index.ts";
import { learnedRows, type Teacher, type TeacherRows } from "./types.ts";

/** What a cache is made of, all of which must be the same when it is used. Digests are SHA-256. */
export interface CacheHeader {
  /** Of all tokens and their ids. */
  readonly tokenizer: string;
  /** Of the chat template. */
  readonly template: string;
  /** Of the samples' ids and of which are learned, those for evaluation included. */
  readonly data: string;
  /** Of the teacher's config and weights; of an endpoint its name. */
  readonly teacher: string;
  /** What it is called: not compared. */
  readonly teacher_name: string;
  readonly temperature: number;
  readonly top_k: number;
  readonly vocab_size: number;
}

const MAGIC = "pith logits 1\n";
const MAX_HEADER = 1 << 16;
/** Samples that are scored between two writes. */
const CHUNK = 64;
const incomplete = (path: string) => `${path}.incomplete`;

/** A digest of samples: ids, and which of them are learned. */
export function samplesDigest(samples: readonly Sample[]): string {
  const hash = createHash("sha256");
  for (const { ids, learned } of samples)
    hash
      .update(`${ids.length} `)
      .update(new Uint8Array(ids.buffer, ids.byteOffset, ids.byteLength))
      .update(learned);
  return hash.digest("hex");
}

/** Bytes of a learned token in a cache. */
export function bytesPerToken({ top_k, vocab_size }: Pick<CacheHeader, "top_k" | "vocab_size">): number {
  return top_k * (idBytes(vocab_size) + 2);
}

/** The highest number stands for no token. */
const idBytes = (vocab_size: number) => (vocab_size <= 0xffff ? 2 : 4);

/** Whether there is a whole cache at a path. */
export const cacheExists = (path: string): Promise<boolean> =>
  stat(path).then(
    () => true,
    () => false,
  );

export interface MakeCacheOptions {
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: { readonly tokens: number; readonly total: number }) => void;
}

/**
 * Asks a teacher about every sample and writes what it says. A run that was stopped is gone on with.
 * @throws {Error} when what an earlier run left has another header, naming the first difference
 */
export async function makeCache(
  path: string,
  samples: readonly Sample[],
  header: CacheHeader,
  teacher: Teacher,
  { signal, onProgress }: MakeCacheOptions = {},
): Promise<void> {
  const file = incomplete(path);
  const started = await stat(file).then(
    () => true,
    () => false,
  );
  const handle = await open(file, started ? "r+" : "w+").catch((cause) => fail("write", file, cause));
  try {
    const total = samples.reduce((sum, sample) => sum + learnedRows(sample), 0);
    let [next, at, tokens] = [0, 0, 0];
    const found = started ? await readHeader(file, handle).catch(() => undefined) : undefined;
    if (found) {
      checkHeader(file, found.header, header);
      at = found.end;
      for (; next < samples.length; next++) {
        const bytes = recordBytes(samples[next]!, header);
        if (!(await readRecord(handle, at, bytes))) break;
        at += bytes;
        tokens += learnedRows(samples[next]!);
      }
      await handle.truncate(at);
    } else {
      const json = new TextEncoder().encode(JSON.stringify(header));
      const head = Buffer.concat([Buffer.from(MAGIC), Buffer.alloc(4), json]);
      head.writeUInt32LE(json.length, MAGIC.length);
      await handle.truncate(0);
      await write(file, handle, head, 0);
      at = head.length;
    }
    while (next < samples.length) {
      signal?.throwIfAborted();
      const some = samples.slice(next, next + CHUNK);
      const said = await teacher.score(some, header.top_k, signal);
      const records = Buffer.concat(said.map((rows) => encode(rows, header)));
      await write(file, handle, records, at);
      at += records.length;
      next += some.length;
      tokens += some.reduce((sum, sample) => sum + learnedRows(sample), 0);
      onProgress?.({ tokens, total });
    }
    await handle.sync();
  } finally {
    await handle.close();
  }
  await rename(file, path).catch((cause) => fail("write", path, cause));
}

async function write(file: string, handle: FileHandle, bytes: Uint8Array, at: number): Promise<void> {
  for (let done = 0; done < bytes.length; ) {
    const { bytesWritten } = await handle
      .write(bytes, done, bytes.length - done, at + done)
      .catch((cause) => fail("write", file, cause));
    done += bytesWritten;
  }
}

/** A whole cache, as a teacher of its samples. */
export class LogitCache implements Teacher {
  readonly name: string;
  readonly header: CacheHeader;
  private readonly path: string;
  private readonly handle: FileHandle;
  private readonly places: ReadonlyMap<Sample, { at: number; bytes: number }>;

  private constructor(
    path: string,
    handle: FileHandle,
    header: CacheHeader,
    places: Map<Sample, { at: number; bytes: number }>,
  ) {
    this.name = header.teacher_name;
    this.path = path;
    this.handle = handle;
    this.header = header;
    this.places = places;
  }

  /**
   * @param wanted what it must be of, as far as it is known
   * @throws {Error} naming the first difference; {SyntaxError} for another kind of file, or one that ends too early
   */
  static async open(
    path: string,
    samples: readonly Sample[],
    wanted: Partial<CacheHeader>,
  ): Promise<LogitCache> {
    const handle = await open(path, "r").catch((cause) => fail("read", path, cause));
    try {
      const { header, end } = await readHeader(path, handle);
      checkHeader(path, header, wanted);
      const places = new Map<Sample, { at: number; bytes: number }>();
      let at = end;
      for (const sample of samples) {
        const bytes = recordBytes(sample, header);
        places.set(sample, { at, bytes });
        at += bytes;
      }
      const { size } = await handle.stat();
      if (size !== at)
        throw new SyntaxError(
          `Cannot read the logit cache ${JSON.stringify(path)}: it has ${size} bytes, wanted ${at} for its samples`,
        );
      return new LogitCache(path, handle, header, places);
    } catch (error) {
      await handle.close();
      throw error;
    }
  }

  async score(samples: readonly Sample[], k: number): Promise<TeacherRows[]> {
    const { top_k } = this.header;
    if (k !== top_k)
      throw new RangeError(
        `Cannot read ${k} tokens a position from ${JSON.stringify(this.path)}: it has ${top_k}`,
      );
    return Promise.all(
      samples.map(async (sample) => {
        const { file, line } = sample.source;
        const what = `the logit cache ${JSON.stringify(this.path)}`;
        const place = this.places.get(sample);
        if (!place)
          throw new RangeError(
            `Cannot find ${JSON.stringify(file)} line ${line} in ${what}: it has other samples`,
          );
        const record = await readRecord(this.handle, place.at, place.bytes);
        if (!record)
          throw new SyntaxError(
            `Cannot read ${what}: what it has of ${JSON.stringify(file)} line ${line} is damaged; remove it to make it again`,
          );
        return decode(record, this.header);
      }),
    );
  }

  async close(): Promise<void> {
    await this.handle.close();
  }
}

const recordBytes = (sample: Sample, header: CacheHeader) => 4 + learnedRows(sample) * bytesPerToken(header);

/** What a record holds after its checksum; undefined when that is wrong. */
async function readRecord(handle: FileHandle, at: number, bytes: number): Promise<Buffer | undefined> {
  const record = Buffer.alloc(bytes);
  const { bytesRead } = await handle.read(record, 0, bytes, at);
  const rest = record.subarray(4);
  return bytesRead === bytes && crc32(rest) === record.readUInt32LE(0) ? rest : undefined;
}

function encode({ ids, logp }: TeacherRows, { vocab_size }: CacheHeader): Buffer {
  const width = idBytes(vocab_size);
  const record = Buffer.alloc(4 + ids.length * (width + 2));
  const none = 2 ** (8 * width) - 1;
  for (let i = 0; i < ids.length; i++) record.writeUIntLE(ids[i]! < 0 ? none : ids[i]!, 4 + i * width, width);
  const half = new Uint16Array(ids.length);
  f32ToF16Array(
    logp.map((x) => Math.max(x, LEAST)),
    half,
  );
  record.set(new Uint8Array(half.buffer), 4 + ids.length * width);
  record.writeUInt32LE(crc32(record.subarray(4)), 0);
  return record;
}

/** The most negative f16. */
const LEAST = -65504;

function decode(record: Buffer, { top_k, vocab_size }: CacheHeader): TeacherRows {
  const width = idBytes(vocab_size);
  const count = record.length / (width + 2);
  const none = 2 ** (8 * width) - 1;
  const ids = new Int32Array(count);
  for (let i = 0; i < count; i++) {
    const id = record.readUIntLE(i * width, width);
    ids[i] = id === none ? -1 : id;
  }
  const half = new Uint16Array(new Uint8Array(record.subarray(count * width)).buffer);
  const logp = new Float32Array(count);
  f16ToF32Array(half, logp);
  return { k: top_k, ids, logp };
}

async function readHeader(
  path: string,
  handle: FileHandle,
): Promise<{ readonly header: CacheHeader; readonly end: number }> {
  const what = `Cannot read the logit cache ${JSON.stringify(path)}`;
  const head = Buffer.alloc(MAGIC.length + 4);
  const { bytesRead } = await handle.read(head, 0, head.length, 0);
  if (bytesRead < head.length || head.toString("latin1", 0, MAGIC.length) !== MAGIC)
    throw new SyntaxError(`${what}: it does not begin with ${JSON.stringify(MAGIC)}`);
  const length = head.readUInt32LE(MAGIC.length);
  if (length > MAX_HEADER)
    throw new SyntaxError(`${what}: its header has ${length} bytes, wanted at most ${MAX_HEADER}`);
  const json = Buffer.alloc(length);
  const got = await handle.read(json, 0, length, head.length);
  try {
    if (got.bytesRead < length) throw new SyntaxError("it ends too early");
    const header = JSON.parse(json.toString()) as CacheHeader;
    for (const name of ["top_k", "vocab_size"] as const)
      if (!(Number.isInteger(header[name]) && header[name] >= 1 && header[name] < 2 ** 31))
        throw new SyntaxError(`${name} is ${header[name]}`);
    return { header, end: head.length + length };
  } catch (cause) {
    throw new SyntaxError(`${what}: its header is damaged, ${(cause as Error).message}`, { cause });
  }
}

const COMPARED = ["tokenizer", "template", "data", "teacher", "temperature", "top_k", "vocab_size"] as const;

function checkHeader(path: string, header: CacheHeader, wanted: Partial<CacheHeader>): void {
  for (const name of COMPARED)
    if (wanted[name] !== undefined && header[name] !== wanted[name])
      throw new Error(
        `Cannot use the logit cache ${JSON.stringify(path)}: its ${name} is ${JSON.stringify(header[name])}, wanted ${JSON.stringify(wanted[name])}; give another name, or remove it to make it again`,
      );
}

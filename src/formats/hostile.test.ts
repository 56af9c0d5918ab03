// Files that lie. Structure-aware mutants of valid GGUF and safetensors files go through the readers: each is
// refused with an error that names the file, or loads with every tensor inside the file.

import { describe, expect, test } from "vitest";
import { readGguf } from "./gguf.ts";
import type { GgufFile } from "./gguf-values.ts";
import { readSafetensors, type SafetensorsFile } from "./safetensors.ts";
import { fromBytes } from "./source.ts";

const NAME = "hostile.bin";

// --- the mutator: a file is a list of fields, any of which may lie ---

type Field =
  | { kind: "u8" | "u32" | "u64"; value: bigint }
  | { kind: "text"; value: string } // a string with its u64 length
  | { kind: "bytes"; value: Uint8Array };

const u8 = (value: number): Field => ({ kind: "u8", value: BigInt(value) });
const u32 = (value: number): Field => ({ kind: "u32", value: BigInt(value) });
const u64 = (value: number): Field => ({ kind: "u64", value: BigInt(value) });
const text = (value: string): Field => ({ kind: "text", value });
const bytes = (value: Uint8Array): Field => ({ kind: "bytes", value });

function serialize(fields: readonly Field[]): Uint8Array {
  const parts: Uint8Array[] = [];
  const number = (value: bigint, size: number) => {
    const view = new DataView(new ArrayBuffer(8));
    view.setBigUint64(0, BigInt.asUintN(64, value), true);
    parts.push(new Uint8Array(view.buffer, 0, size));
  };
  for (const { kind, value } of fields) {
    if (kind === "bytes") parts.push(value);
    else if (kind === "text") {
      const encoded = new TextEncoder().encode(value);
      number(BigInt(encoded.length), 8);
      parts.push(encoded);
    } else number(value, kind === "u8" ? 1 : kind === "u32" ? 4 : 8);
  }
  return new Uint8Array(Buffer.concat(parts));
}

class Random {
  #state: number;
  constructor(seed: number) {
    this.#state = seed >>> 0;
  }
  below(n: number): number {
    this.#state = (Math.imul(this.#state, 1664525) + 1013904223) >>> 0;
    return Math.floor((this.#state / 2 ** 32) * n);
  }
  of<T>(items: readonly T[]): T {
    return items[this.below(items.length)]!;
  }
}

const NUMBERS = [
  ...[0, 1, 2, 3, 4, 5, 7, 8, 9, 12, 13, 14, 31, 32, 33, 255, 256, 65535, 65536, 100_000, 100_001],
  ...[2 ** 20, 2 ** 22, 2 ** 22 + 1, 2 ** 31 - 1, 2 ** 31, 2 ** 32 - 1, 2 ** 32, 2 ** 53 - 1, 2 ** 53],
].map(BigInt);
const HUGE = [2n ** 63n - 1n, 2n ** 63n, 2n ** 64n - 1n, 2n ** 64n - 32n, 2n ** 61n, 2n ** 60n + 1n];
const NAMES = [
  "__proto__",
  "constructor",
  "toString",
  "",
  "\0",
  "\u202e",
  "a".repeat(70_000),
  "general.alignment",
];
const JUNK = [
  "}",
  "{",
  "[[[[[[[[[[[[[[[[[[[[[[[[",
  '"',
  ",",
  ":",
  "\\u0000",
  "\\ud800",
  "-1",
  "1e400",
  "1.5",
  "0x10",
  "NaN",
  "null",
  "{}",
  "[]",
  '{"__proto__":1}',
  "\ufeff",
  "9007199254740993",
  " ",
];

function mutateFields(fields: readonly Field[], random: Random, size: number): Field[] {
  const out = [...fields];
  for (let n = 1 + random.below(3); n > 0; n--) {
    const i = random.below(out.length);
    const field = out[i]!;
    const move = random.below(10);
    if (move === 0) out.splice(i, 1);
    else if (move === 1) out.splice(i, 0, field);
    else if (move === 2) {
      const j = random.below(out.length);
      [out[i], out[j]] = [out[j]!, field];
    } else if (field.kind === "text") {
      out[i] = text(
        random.below(2)
          ? random.of(NAMES)
          : ((out.find((f) => f.kind === "text" && f !== field) ?? field).value as string),
      );
    } else if (field.kind === "bytes") {
      out[i] = bytes(flip(field.value, random));
    } else {
      const value = random.of([
        random.of(NUMBERS),
        random.of(HUGE),
        BigInt(size + random.below(5) - 2),
        field.value + BigInt(random.below(5) - 2),
        field.value ^ (1n << BigInt(random.below(64))),
      ]);
      out[i] = { kind: field.kind, value };
    }
  }
  return out;
}

function flip(original: Uint8Array, random: Random): Uint8Array {
  const out = original.slice();
  for (let n = 1 + random.below(4); n > 0 && out.length > 0; n--) {
    out[random.below(out.length)] = random.of([0, 1, 0x7f, 0x80, 0xff, random.below(256)]);
  }
  return out;
}

// --- the seeds ---

function ggufSeeds(): Field[][] {
  const data = (length: number) => bytes(Uint8Array.from({ length }, (_, i) => i));
  const head = (tensors: number, pairs: number) => [
    bytes(new TextEncoder().encode("GGUF")),
    u32(3),
    u64(tensors),
    u64(pairs),
  ];
  const align = (fields: Field[], to: number, then: Field[]) => {
    const used = serialize(fields).length % to;
    return [...fields, bytes(new Uint8Array(used ? to - used : 0)), ...then];
  };
  const scalars = [0, 1, 2, 3, 4, 5, 6, 7, 10, 11, 12].flatMap((type) => {
    const size = [1, 1, 2, 2, 4, 4, 4, 1, 0, 0, 8, 8, 8][type]!;
    return [text(`scalar.${type}`), u32(type), bytes(new Uint8Array(size).fill(1))];
  });
  const tensor = (name: string, dims: number[], type: number, offset: number) => [
    text(name),
    u32(dims.length),
    ...dims.map(u64),
    u32(type),
    u64(offset),
  ];
  return [
    align(
      [
        ...head(4, 13),
        ...[text("general.architecture"), u32(8), text("llama")],
        ...[text("general.alignment"), u32(4), u32(64)],
        ...scalars,
        ...tensor("token_embd.weight", [64, 2], 0, 0),
        ...tensor("blk.0.attn_q.weight", [32, 2], 2, 512),
        ...tensor("blk.0.attn_k.weight", [32, 1, 1, 1], 8, 576),
        ...tensor("norm", [5], 1, 640),
      ],
      64,
      [data(512), data(64), data(64), data(64)],
    ),
    [
      ...head(0, 4),
      ...[text("tokenizer.ggml.tokens"), u32(9), u32(8), u64(6)],
      ...["<s>", "a", "é", "", "\ufeff", "long ".repeat(40)].map(text),
      ...[text("tokenizer.ggml.scores"), u32(9), u32(6), u64(4), bytes(new Uint8Array(16))],
      ...[text("tokenizer.ggml.flags"), u32(9), u32(7), u64(3), u8(1), u8(0), u8(1)],
      ...[text("tokenizer.ggml.big"), u32(9), u32(10), u64(2), u64(7), u64(2 ** 52)],
    ],
  ];
}

function safetensorsSeed(): { entries: string[]; data: Uint8Array } {
  return {
    entries: [
      '"__metadata__":{"format":"pt","a":"b"}',
      '"model.embed_tokens.weight":{"dtype":"F32","shape":[4,4],"data_offsets":[0,64]}',
      '"b":{"dtype":"BF16","shape":[2,3],"data_offsets":[64,76]}',
      '"scalar":{"dtype":"I64","shape":[],"data_offsets":[76,84]}',
      '"empty":{"dtype":"F16","shape":[0,3],"data_offsets":[84,84]}',
    ],
    data: Uint8Array.from({ length: 84 }, (_, i) => i),
  };
}

function safetensorsFile(header: string, data: Uint8Array, length?: bigint): Uint8Array {
  const json = new TextEncoder().encode(header);
  return serialize([{ kind: "u64", value: length ?? BigInt(json.length) }, bytes(json), bytes(data)]);
}

function mutateSafetensors(random: Random): Uint8Array {
  const { entries, data } = safetensorsSeed();
  const out = [...entries];
  let mutatedData = data;
  let length: bigint | undefined;
  for (let n = 1 + random.below(3); n > 0; n--) {
    const i = random.below(out.length);
    const move = random.below(9);
    if (move === 0) out.splice(i, 1);
    else if (move === 1) out.push(random.of(entries));
    else if (move === 2) mutatedData = data.slice(0, random.below(84));
    else if (move === 3) mutatedData = new Uint8Array(84 + random.below(20));
    else if (move === 4) length = random.of([...NUMBERS, ...HUGE, BigInt(300 + random.below(100))]);
    else if (move === 5) out.push(`${JSON.stringify(random.of(NAMES))}:${random.of(JUNK)}`);
    else if (out[i] !== undefined) {
      // Replace one number, one string or one character of an entry.
      const entry = out[i];
      const pattern = random.of([/\d+/g, /"[^"]*"/g, /./g, /[[\]{}:,]/g]);
      const hits = [...entry.matchAll(pattern)];
      if (hits.length === 0) continue;
      const hit = random.of(hits);
      const number = String(random.of([random.of(NUMBERS), random.of(HUGE), BigInt(random.below(90))]));
      const by = random.of([number, random.of(JUNK), JSON.stringify(random.of(NAMES)), ""]);
      out[i] = entry.slice(0, hit.index) + by + entry.slice(hit.index + hit[0].length);
    }
    if (out.length === 0) out.push("");
  }
  const file = safetensorsFile(`{${out.join(",")}}`, mutatedData, length);
  return random.below(8) === 0 ? flip(file, random) : file;
}

// --- the property ---

async function holds(
  file: Uint8Array,
  read: (source: ReturnType<typeof fromBytes>) => Promise<GgufFile | SafetensorsFile>,
): Promise<"loaded" | "refused"> {
  let asked = 0;
  const memory = fromBytes(NAME, file);
  const source = {
    ...memory,
    read: (offset: number, length: number) => {
      asked += length;
      return memory.read(offset, length);
    },
  };
  const start = performance.now();
  let loaded: GgufFile | SafetensorsFile;
  try {
    loaded = await read(source);
  } catch (error) {
    const { message } = error as Error;
    const kind = (error as Error).constructor as ErrorConstructor;
    if (![Error, TypeError, RangeError, SyntaxError].includes(kind)) throw error;
    if (!message.startsWith(`Cannot read "${NAME}": `) || message.length > 1000) throw error;
    return "refused";
  } finally {
    if (performance.now() - start > 1000) expect.fail("took more than a second");
    if (asked > 2 * file.length + 1024) expect.fail(`read ${asked} bytes of a file of ${file.length}`);
  }
  const ranges: [number, number][] = [];
  for (const [name, tensor] of loaded.tensors) {
    const { offset, bytes: length, shape } = tensor;
    if (name !== tensor.name) expect.fail("a tensor under another's name");
    if (!Number.isSafeInteger(offset) || !Number.isSafeInteger(length) || offset < 0 || length < 0) {
      expect.fail(`tensor at ${offset}, ${length} bytes`);
    }
    if (offset + length > file.length) expect.fail(`tensor ends at ${offset + length} of ${file.length}`);
    if (!shape.every((size) => Number.isSafeInteger(size) && size >= 0)) expect.fail(`shape ${shape}`);
    if (length > 0) ranges.push([offset, offset + length]);
    await tensor.source.read(offset, length);
  }
  ranges.sort((a, b) => a[0] - b[0]);
  for (let i = 1; i < ranges.length; i++) {
    if (ranges[i]![0] < ranges[i - 1]![1]) expect.fail("two tensors share bytes");
  }
  for (const value of loaded.metadata.values()) {
    if (typeof value === "object" && value.type === "array") for (const item of value.value) String(item);
  }
  return "loaded";
}

/** Runs the property on `count` mutants; returns how many loaded, so that neither outcome is vacuous. */
async function run(
  count: number,
  mutant: (i: number) => Uint8Array,
  read: Parameters<typeof holds>[1],
): Promise<number> {
  let loaded = 0;
  for (let i = 0; i < count; i++) {
    const file = mutant(i);
    try {
      if ((await holds(file, read)) === "loaded") loaded++;
    } catch (cause) {
      throw new Error(`mutant ${i} (${Buffer.from(file.subarray(0, 2000)).toString("base64")})`, { cause });
    }
  }
  return loaded;
}

const peakMiB = () => process.resourceUsage().maxRSS / 1024;

describe("GGUF", () => {
  const seeds = ggufSeeds();

  test("the seeds load", async () => {
    for (const seed of seeds) expect(await holds(serialize(seed), readGguf)).toBe("loaded");
  });

  test("every truncation is refused", async () => {
    for (const seed of seeds) {
      const file = serialize(seed);
      const loaded = await run(file.length, (length) => file.slice(0, length), readGguf);
      // The first seed ends in the 54 bytes of padding after its last tensor, which no one needs.
      expect(loaded).toBe(seed === seeds[0] ? 54 : 0);
    }
  });

  test("12,000 mutants", async () => {
    const random = new Random(2026);
    const before = peakMiB();
    const loaded = await run(
      12_000,
      () => {
        const seed = random.of(seeds);
        const file = serialize(seed);
        return random.below(4) === 0
          ? flip(file, random)
          : serialize(mutateFields(seed, random, file.length));
      },
      readGguf,
    );
    expect(loaded).toBeGreaterThan(500);
    expect(loaded).toBeLessThan(9_000);
    expect(peakMiB() - before).toBeLessThan(256);
  });
});

describe("safetensors", () => {
  const seed = safetensorsSeed();
  const valid = safetensorsFile(`{${seed.entries.join(",")}}  `, seed.data);

  test("the seed loads", async () => {
    expect(await holds(valid, readSafetensors)).toBe("loaded");
  });

  test("every truncation is refused", async () => {
    expect(await run(valid.length, (length) => valid.slice(0, length), readSafetensors)).toBe(0);
  });

  test("8,000 mutants", async () => {
    const random = new Random(7);
    const before = peakMiB();
    const loaded = await run(8_000, () => mutateSafetensors(random), readSafetensors);
    expect(loaded).toBeGreaterThan(100);
    expect(loaded).toBeLessThan(5_000);
    expect(peakMiB() - before).toBeLessThan(256);
  });
});

test("no mutant reached a prototype", () => {
  expect(Object.keys(Object.prototype)).toEqual([]);
  expect(({} as Record<string, unknown>).dtype).toBeUndefined();
});

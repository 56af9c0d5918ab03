import { existsSync } from "node:fs";
import { mkdtemp, readdir, readFile, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { gguf } from "@huggingface/gguf";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { quantize } from "../engine/weights.ts";
import { readGguf } from "./gguf.ts";
import {
  encodeStrings,
  type GgufStrings,
  type GgufValue,
  getBoolean,
  getInteger,
  getNumber,
  getNumbers,
  getString,
  getStrings,
  required,
} from "./gguf-values.ts";
import { type WriteGgufOptions, writeGguf } from "./gguf-write.ts";
import { fromBytes, openFile } from "./source.ts";
import { readTensor, readTensorValues, weightTensor } from "./tensors.ts";
import type { TensorToWrite } from "./types.ts";

const VOCABS = new URL("../../../shared/data/gguf-vocabs/", import.meta.url);

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-gguf-"));
});
afterAll(() => rm(dir, { recursive: true }));

let files = 0;
async function write(options: WriteGgufOptions): Promise<string> {
  const path = join(dir, `${files++}.gguf`);
  await writeGguf(path, options);
  return path;
}

async function read(path: string) {
  return readGguf(fromBytes(path, await readFile(path)));
}

const EVERY_TYPE: [string, GgufValue][] = [
  ["general.architecture", { type: "string", value: "llama" }],
  ["u8", { type: "uint8", value: 255 }],
  ["i8", { type: "int8", value: -128 }],
  ["u16", { type: "uint16", value: 65535 }],
  ["i16", { type: "int16", value: -32768 }],
  ["u32", { type: "uint32", value: 2 ** 32 - 1 }],
  ["i32", { type: "int32", value: -(2 ** 31) }],
  ["f32", { type: "float32", value: 0.5 }],
  ["f64", { type: "float64", value: 0.1 }],
  ["u64", { type: "uint64", value: 2n ** 64n - 1n }],
  ["i64", { type: "int64", value: -(2n ** 63n) }],
  ["yes", { type: "bool", value: true }],
  ["no", { type: "bool", value: false }],
  ["text", { type: "string", value: "\ufeffé 世界 👋\0" }],
  ["__proto__", { type: "string", value: "a key like any other" }],
  ["strings", { type: "array", of: "string", value: ["", "a", "\ufeff", "世界"] }],
  ["no strings", { type: "array", of: "string", value: [] }],
  ["bools", { type: "array", of: "bool", value: Uint8Array.of(1, 0, 1) }],
  ["u8s", { type: "array", of: "uint8", value: Uint8Array.of(1, 2) }],
  ["i8s", { type: "array", of: "int8", value: Int8Array.of(-1, 2) }],
  ["u16s", { type: "array", of: "uint16", value: Uint16Array.of(1, 65535) }],
  ["i16s", { type: "array", of: "int16", value: Int16Array.of(-1, 2) }],
  ["u32s", { type: "array", of: "uint32", value: Uint32Array.of(7) }],
  ["i32s", { type: "array", of: "int32", value: Int32Array.of(-7, 7) }],
  ["f32s", { type: "array", of: "float32", value: Float32Array.of(0.1, Infinity) }],
  ["f64s", { type: "array", of: "float64", value: Float64Array.of(0.1) }],
  ["u64s", { type: "array", of: "uint64", value: BigUint64Array.of(1n, 2n ** 63n) }],
  ["i64s", { type: "array", of: "int64", value: BigInt64Array.of(-1n, 5n) }],
];

function tensor(
  name: string,
  type: "f32" | "f16" | "bf16" | "q8_0" | "q4_0",
  shape: number[],
): TensorToWrite {
  const count = shape.reduce((a, b) => a * b, 1);
  const values = Float32Array.from({ length: count }, (_, i) => Math.sin(i + name.length));
  return { name, type, shape, data: async () => quantize(type, values) };
}

const plain = (value: GgufValue) =>
  value.type === "array" && value.of === "string" ? { ...value, value: [...value.value] } : value;

describe("written and read again", () => {
  test("every value type, every weight type", async () => {
    const tensors = [
      tensor("token_embd.weight", "q4_0", [3, 64]),
      tensor("blk.0.attn_q.weight", "q8_0", [2, 32]),
      tensor("blk.0.ffn", "bf16", [2, 3, 5]),
      tensor("blk.0.norm", "f32", [7]),
      tensor("scalar", "f16", []),
      tensor("four", "f16", [2, 1, 3, 4]),
    ];
    const file = await read(await write({ metadata: EVERY_TYPE, tensors }));
    expect(file.version).toBe(3);
    expect(file.alignment).toBe(32);
    expect([...file.metadata.keys()]).toEqual(EVERY_TYPE.map(([key]) => key));
    for (const [key, value] of EVERY_TYPE) expect(plain(file.metadata.get(key)!)).toEqual(value);
    expect([...file.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
    for (const { name, type, shape, data } of tensors) {
      const found = file.tensors.get(name)!;
      expect([found.type, found.shape, found.offset % 32]).toEqual([type, shape, 0]);
      expect(Buffer.compare(await readTensor(found), (await data()) as Uint8Array)).toBe(0);
    }
    const norm = weightTensor(file.tensors, "blk.0.norm", file.name);
    expect(await readTensorValues(norm)).toEqual(
      Float32Array.from({ length: 7 }, (_, i) => Math.sin(i + 10)),
    );
  });

  test("read and written again, 60 random files are the same bytes", async () => {
    let state = 1;
    const below = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    for (let round = 0; round < 60; round++) {
      const metadata = EVERY_TYPE.filter(() => below(2) === 0);
      if (below(2)) metadata.push(["general.alignment", { type: "uint32", value: 2 ** below(9) }]);
      const tensors = Array.from({ length: below(6) }, (_, i) => {
        const type = (["f32", "f16", "bf16", "q8_0", "q4_0"] as const)[below(5)]!;
        const last = type.startsWith("q") ? 32 * (1 + below(3)) : below(9);
        return tensor(`t${i}`, type, [...Array.from({ length: below(4) }, () => 1 + below(4)), last]);
      });
      const first = await write({ metadata, tensors });
      const file = await read(first);
      const second = await write({
        metadata: file.metadata,
        tensors: [...file.tensors.values()].map((info) => ({ ...info, data: () => readTensor(info) })),
      });
      if (Buffer.compare(await readFile(first), await readFile(second))) expect.fail(`round ${round}`);
    }
  });

  test("150,000 tokens are read in bounded pieces, and the tensors not at all", async () => {
    const tokens = Array.from({ length: 150_000 }, (_, i) => `${"▁token".repeat(i % 4)}${i}`);
    const path = await write({
      metadata: [["tokenizer.ggml.tokens", { type: "array", of: "string", value: tokens }]],
      tensors: [tensor("w", "f32", [4 * 2 ** 20])],
    });
    const bytes = await readFile(path);
    const memory = fromBytes(path, bytes);
    const asked: number[] = [];
    const file = await readGguf({
      ...memory,
      read: (offset, length) => {
        asked.push(length);
        return memory.read(offset, length);
      },
    });
    const headerBytes = file.tensors.get("w")!.offset;
    expect(headerBytes).toBeGreaterThan(2 ** 21);
    expect(asked.length).toBeGreaterThan(3);
    expect(asked.reduce((a, b) => a + b)).toBeLessThan(3 * headerBytes);
    const found = getStrings(file, "tokenizer.ggml.tokens")!;
    expect(found.toArray().findIndex((token, i) => token !== tokens[i])).toBe(-1);
    expect([found.length, found.at(149_999)]).toEqual([150_000, tokens.at(-1)]);
  });

  test("strings that are not UTF-8 keep their bytes", async () => {
    const strings: GgufStrings = {
      ...encodeStrings(["", ""]),
      length: 2,
      bytesAt: (i) => [Uint8Array.of(0xff, 0x41), Uint8Array.of(0xc3)][i]!,
    };
    const path = await write({
      metadata: [["s", { type: "array", of: "string", value: strings }]],
      tensors: [],
    });
    const found = getStrings(await read(path), "s")!;
    expect([...found.bytesAt(0), ...found.bytesAt(1)]).toEqual([0xff, 0x41, 0xc3]);
    expect(found.toArray()).toEqual(["\ufffdA", "\ufffd"]);
    expect(() => found.at(2)).toThrow("Cannot take string 2, want an index from 0 to 1");
  });
});

describe("typed getters", async () => {
  const file = { name: "m.gguf", metadata: new Map(EVERY_TYPE) };

  test("give the value, or undefined without one", () => {
    expect(getString(file, "general.architecture")).toBe("llama");
    expect(getNumber(file, "f64")).toBe(0.1);
    expect(getInteger(file, "i8", -200)).toBe(-128);
    expect(getBoolean(file, "no")).toBe(false);
    expect(getStrings(file, "strings")!.at(3)).toBe("世界");
    expect(getNumbers(file, "i64s")).toEqual(Float64Array.of(-1, 5));
    expect(getNumbers(file, "bools")).toEqual(Uint8Array.of(1, 0, 1));
    for (const get of [getString, getNumber, getInteger, getBoolean, getStrings, getNumbers]) {
      expect(get(file, "absent")).toBeUndefined();
    }
  });

  test("name the file, the key, the value found and the value wanted", () => {
    expect(() => getString(file, "u8")).toThrow('Cannot read "m.gguf": "u8" is uint8 255, want a string');
    expect(() => getNumber(file, "text")).toThrow("want a number");
    expect(() => getNumber(file, "u64")).toThrow('"u64" is 18446744073709551615, want at most 2^53 - 1');
    expect(() => getNumbers(file, "u64s")).toThrow('"u64s" is 9223372036854775808, want');
    expect(() => getInteger(file, "f32")).toThrow('"f32" is 0.5, want a whole number from 0 to');
    expect(() => getInteger(file, "u8", 1, 64)).toThrow('"u8" is 255, want a whole number from 1 to 64');
    expect(() => getStrings(file, "f32s")).toThrow('"f32s" is an array of float32, want an array of strings');
    expect(() => getNumbers(file, "strings")).toThrow(
      '"strings" is an array of string, want an array of num',
    );
    expect(() => required(getNumber(file, "n"), file, "n")).toThrow('Cannot read "m.gguf": "n" is missing');
  });
});

describe("refused when read", () => {
  const u32 = (...values: number[]) => new Uint8Array(Uint32Array.from(values).buffer);
  const u64 = (...values: (number | bigint)[]) =>
    new Uint8Array(BigUint64Array.from(values.map(BigInt)).buffer);
  const text = (value: string) => [u64(Buffer.byteLength(value)), Buffer.from(value)];
  const file = (...parts: Uint8Array[]) =>
    fromBytes("m.gguf", Buffer.concat([Buffer.from("GGUF"), ...parts]));
  const withPair = (...parts: Uint8Array[]) => file(u32(3), u64(0, 1), ...parts);
  const withTensor = (dims: (number | bigint)[], type: number, offset: number | bigint, data = 64) =>
    file(
      ...[u32(3), u64(1, 0), ...text("w"), u32(dims.length), u64(...dims), u32(type), u64(offset)],
      new Uint8Array(31 + data),
    );

  test.each([
    ["version 1", file(u32(1), u64(0, 0)), "version is 1, want 2 or 3, little-endian"],
    ["big-endian", file(Uint8Array.of(0, 0, 0, 3), u64(0, 0)), "version is big-endian, want 2 or 3"],
    ["too many tensors", file(u32(3), u64(100_001, 0)), "number of tensors is 100001, want at most 100000"],
    [
      "pairs beyond the file",
      file(u32(3), u64(0, 9)),
      "number of metadata pairs is 9, want no more than the 0 b",
    ],
    ["key not UTF-8", withPair(u64(1), Uint8Array.of(0xff), u32(0, 0)), "key 0 is not UTF-8, want UTF-8"],
    ["empty key", withPair(...text(""), u32(0, 0)), "key 0 is empty, want a name"],
    [
      "key twice",
      file(u32(3), u64(0, 2), ...text("a"), u32(4, 1), ...text("a"), u32(4, 1)),
      'key 1 is "a" again, want each key once',
    ],
    ["unknown type", withPair(...text("k"), u32(13, 0)), 'type of "k" is 13, want 0 to 12'],
    [
      "nested array",
      withPair(...text("k"), u32(9, 9), u64(0)),
      'element type of "k" is array, want no array',
    ],
    ["long array", withPair(...text("k"), u32(9, 0), u64(4194305)), 'length of "k" is 4194305, want at most'],
    [
      "array past the end",
      withPair(...text("k"), u32(9, 4), u64(99)),
      'length of "k" is 99, want no more than',
    ],
    [
      "2^64 - 1 strings",
      withPair(...text("k"), u32(9, 8), u64(2n ** 64n - 1n)),
      "is 18446744073709551615, want",
    ],
    [
      "string past the end",
      withPair(...text("k"), u32(9, 8), u64(1, 99)),
      'length of string 0 of "k" is 107, want no more than',
    ],
    [
      "string of 2^32 bytes",
      withPair(...text("k"), u32(9, 8), u64(1, 2 ** 32)),
      'length of string 0 of "k" is 4294967296, want at most 16777216',
    ],
    [
      "a part of a model",
      withPair(...text("split.count"), u32(2), Uint8Array.of(3, 0)),
      '"split.count" is 3, want the whole model in one file',
    ],
    ["boolean 2", withPair(...text("k"), u32(7), Uint8Array.of(2)), '"k" is the boolean 2, want 0 or 1'],
    ["alignment 48", withPair(...text("general.alignment"), u32(4, 48)), "is 48, want a power of two up to"],
    ["alignment 2 MiB", withPair(...text("general.alignment"), u32(4, 2 ** 21)), "is 2097152, want a power"],
    ["alignment 0", withPair(...text("general.alignment"), u32(4, 0)), "is 0, want a power"],
    [
      "alignment as text",
      withPair(...text("general.alignment"), u32(8), ...text("x")),
      "is of type string, want",
    ],
    [
      "five dimensions",
      withTensor([1, 1, 1, 1, 1], 0, 0),
      'number of dimensions of tensor "w" is 5, want at most 4',
    ],
    [
      "dimension 2^53",
      withTensor([2n ** 53n], 0, 0),
      'dimension 0 of tensor "w" is 9007199254740992, want at most',
    ],
    ["a huge product", withTensor([2 ** 40, 2 ** 40], 0, 0), "shape of tensor"],
    [
      "unknown tensor type",
      withTensor([32], 99, 0),
      'type of tensor "w" is 99, want a number that GGUF gives',
    ],
    [
      "half a block",
      withTensor([172], 8, 0),
      'row length of tensor "w" is 172, want a multiple of 32, the block',
    ],
    ["unaligned offset", withTensor([4], 0, 8), 'offset of tensor "w" is 8, want a multiple of 32'],
    ["data past the end", withTensor([400], 0, 0), 'end of tensor "w" is byte 16'],
    [
      "offset past the end",
      withTensor([4], 0, 2n ** 60n),
      'offset of tensor "w" is 1152921504606846976, want at',
    ],
  ])("%s", async (_, source, message) => {
    const error = await readGguf(source).catch((e) => e);
    expect(error).toBeInstanceOf(SyntaxError);
    expect(error.message).toContain('Cannot read "m.gguf": ');
    expect(error.message).toContain(message);
  });

  test("tensors that share bytes, and names twice", async () => {
    const two = (a: string, b: string, offset: number) =>
      file(
        ...[u32(3), u64(2, 0), ...text(a), u32(1), u64(16), u32(0), u64(0)],
        ...[...text(b), u32(1), u64(16), u32(0), u64(offset), new Uint8Array(200)],
      );
    expect((await readGguf(two("a", "b", 64))).tensors.size).toBe(2);
    await expect(readGguf(two("a", "b", 32))).rejects.toThrow(
      'offset of tensor "b" is 32, want at least 64, where tensor "a" ends',
    );
    await expect(readGguf(two("a", "a", 64))).rejects.toThrow(
      'name of tensor 1 is "a" again, want each name once',
    );
  });

  test("a known type that is not computed with is listed, and refused as a weight by name", async () => {
    const { tensors } = await readGguf(withTensor([256], 17, 0, 96));
    expect(tensors.get("w")!.type).toBe("iq2_xs");
    expect(() => weightTensor(tensors, "w", "m.gguf")).toThrow(
      'Cannot load "m.gguf": tensor "w" has type iq2_xs, want one of f32, f16, bf16, q8_0, q4_0, q4_1,',
    );
    expect(() => weightTensor(tensors, "v", "m.gguf")).toThrow(
      'Cannot load "m.gguf": tensor "v" is missing among its 1',
    );
  });

  test("what steers a terminal is escaped", async () => {
    const source = withPair(...text("\x1b[2J\u202e\x9b"), u32(99, 0));
    await expect(readGguf(source)).rejects.toThrow('"\\u001b[2J\\u202e\\u009b" is 99');
  });
});

describe("refused when written", () => {
  const none: [string, GgufValue][] = [];
  test.each<[string, [string, GgufValue][], TensorToWrite[], string]>([
    [
      "a value out of range",
      [["k", { type: "uint8", value: 256 }]],
      [],
      '"k" is 256, want a value that uint8 holds',
    ],
    ["a fraction", [["k", { type: "int32", value: 0.5 }]], [], '"k" is 0.5, want a value that int32 holds'],
    ["2^64", [["k", { type: "uint64", value: 2n ** 64n }]], [], "want a value that uint64 holds"],
    [
      "another array",
      [["k", { type: "array", of: "int32", value: Float32Array.of(1) }]],
      [],
      '"k" is of Float32Array, want Int32Array for an array of int32',
    ],
    ["a key twice", [...EVERY_TYPE, EVERY_TYPE[1]!], [], 'key "u8" comes twice, want each once'],
    ["alignment 3", [["general.alignment", { type: "uint32", value: 3 }]], [], "want a power of two"],
    ["a long name", none, [tensor("n".repeat(64), "f32", [1])], "has 64 bytes, want 1 to 63"],
    ["five dimensions", none, [tensor("t", "f32", [1, 1, 1, 1, 1])], "shape [1,1,1,1,1], want at most 4"],
    [
      "half a block",
      none,
      [tensor("t", "q8_0", [32, 16])],
      "rows of 16, want a multiple of 32, the block of q8_0",
    ],
    [
      "a type of safetensors",
      none,
      [{ ...tensor("t", "f32", [1]), type: "u64" }],
      "has type u64, want one that GGUF",
    ],
    [
      "too little data",
      none,
      [{ ...tensor("t", "f32", [4]), data: async () => new Uint8Array(12) }],
      'tensor "t" gave 12 bytes, want 16',
    ],
  ])("%s", async (_, metadata, tensors, message) => {
    const before = await readdir(dir);
    await expect(write({ metadata, tensors })).rejects.toThrow(message);
    expect(await readdir(dir)).toEqual(before);
  });
});

describe("against @huggingface/gguf", () => {
  test("it reads what we write", async () => {
    const tensors = [tensor("a", "q4_0", [3, 64]), tensor("b", "bf16", [2, 3, 5]), tensor("c", "q8_0", [32])];
    const path = await write({ metadata: EVERY_TYPE.filter(([key]) => key !== "__proto__"), tensors });
    const theirs = await gguf(path, { allowLocalFile: true });
    const ours = await read(path);
    expect(theirs.tensorInfos.map(({ name, shape }) => [name, shape.map(Number).reverse()])).toEqual(
      tensors.map(({ name, shape }) => [name, shape]),
    );
    expect(theirs.tensorInfos.map(({ offset }) => Number(theirs.tensorDataOffset + offset))).toEqual(
      [...ours.tensors.values()].map(({ offset }) => offset),
    );
    compareMetadata(ours.metadata, theirs.metadata);
  });

  const vocabs = existsSync(VOCABS)
    ? ["gpt-2", "llama-spm", "phi-3", "bert-bge", "deepseek-llm", "gpt-neox"]
    : [];
  test.skipIf(vocabs.length === 0).each(vocabs)("ggml-vocab-%s.gguf", async (name) => {
    const path = new URL(`ggml-vocab-${name}.gguf`, VOCABS).pathname;
    const source = await openFile(path);
    const ours = await readGguf(source);
    const theirs = await gguf(path, { allowLocalFile: true });
    compareMetadata(ours.metadata, theirs.metadata);
    expect(ours.tensors.size).toBe(theirs.tensorInfos.length);
    const again = await write({ metadata: ours.metadata, tensors: [] });
    const [before, after] = [await readFile(path), await readFile(again)];
    // Their writer did not pad a file without tensors.
    expect(Buffer.compare(after.subarray(0, before.length), before)).toBe(0);
    await source.close();
  });

  // The library drops a leading U+FEFF, which is a token in some vocabularies.
  function withoutBom(value: unknown): unknown {
    return typeof value === "string" ? value.replace(/^\ufeff/, "") : value;
  }

  function compareMetadata(ours: ReadonlyMap<string, GgufValue>, theirs: object) {
    const entries = Object.entries(theirs).filter(
      ([key]) => !["version", "tensor_count", "kv_count"].includes(key),
    );
    expect([...ours.keys()]).toEqual(entries.map(([key]) => key));
    for (const [key, want] of entries) {
      const { value } = ours.get(key)!;
      if (typeof value !== "object") {
        expect([key, withoutBom(value)]).toEqual([key, want]);
        continue;
      }
      const items: unknown[] = Array.from(value as Iterable<unknown>, withoutBom);
      const wanted = (want as unknown[]).map((x) => (typeof x === "boolean" ? Number(x) : x));
      expect(items.length).toBe(wanted.length);
      const at = items.findIndex((item, i) => !Object.is(item, wanted[i]));
      if (at >= 0) expect([key, at, items[at]]).toEqual([key, at, wanted[at]]);
    }
  }
});

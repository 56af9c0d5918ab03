import { existsSync } from "node:fs";
import { mkdir, mkdtemp, readdir, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readSafetensors } from "./safetensors.ts";
import { readSafetensorsFolder } from "./safetensors-folder.ts";
import { writeSafetensors } from "./safetensors-write.ts";
import { fromBytes, openFile } from "./source.ts";
import type { StorageType } from "./storage.ts";
import { STORAGE_TYPES } from "./storage.ts";
import { asWeight, readTensor, readTensorValues, streamTensor } from "./tensors.ts";
import type { TensorToWrite, WriteProgress } from "./types.ts";

const STORIES = new URL("../../../shared/data/stories260K/", import.meta.url);

let root = "";
beforeAll(async () => {
  root = await mkdtemp(join(tmpdir(), "pith-safetensors-"));
});
afterAll(() => rm(root, { recursive: true }));

let folders = 0;
async function folder(): Promise<string> {
  const dir = join(root, String(folders++));
  await mkdir(dir);
  return dir;
}

function tensor(name: string, type: StorageType, shape: number[]): TensorToWrite {
  const { blockSize, blockBytes } = STORAGE_TYPES[type];
  const length = (shape.reduce((a, b) => a * b, 1) / blockSize) * blockBytes;
  return { name, type, shape, data: async () => Uint8Array.from({ length }, (_, i) => i + name.length) };
}

const bytesOf = async ({ data }: TensorToWrite) => (await data()) as Uint8Array;

describe("written and read again", () => {
  test("one file: types, shapes, bytes and metadata", async () => {
    const dir = await folder();
    const tensors = [
      tensor("lm_head.weight", "bf16", [3, 5]),
      tensor("scalar", "f16", []),
      tensor("wide", "f32", [2, 2]),
      tensor("ids", "i64", [3]),
      tensor("empty", "u8", [0, 4]),
      tensor("fp4", "f4", [2, 4]),
      tensor("__proto__", "f32", [1]),
      tensor('a name with "quotes" and 世界', "bool", [1]),
    ];
    const metadata = new Map([
      ["format", "pt"],
      ["__proto__", "x"],
    ]);
    const progress: WriteProgress[] = [];
    const path = join(dir, "model.safetensors");
    await writeSafetensors(path, tensors, { metadata, onProgress: (p) => progress.push(p) });
    const file = await readSafetensorsFolder(dir);
    expect(file.metadata).toEqual(metadata);
    expect([...file.tensors.keys()].sort()).toEqual(tensors.map(({ name }) => name).sort());
    for (const wanted of tensors) {
      const found = file.tensors.get(wanted.name)!;
      expect([found.type, found.shape]).toEqual([wanted.type, wanted.shape]);
      expect(Buffer.compare(await readTensor(found), await bytesOf(wanted))).toBe(0);
      // Aligned to its element, so that no reader has to copy.
      expect(found.offset % Math.ceil(STORAGE_TYPES[found.type].blockBytes)).toBe(0);
    }
    expect(progress.at(-1)).toMatchObject({ bytes: 81, totalBytes: 81 });
    expect(() => asWeight(file.tensors.get("ids")!)).toThrow(
      `Cannot load "${path}": tensor "ids" has type i64, want one of f32, f16, bf16`,
    );
    await file.close();
    expect(await readdir(dir)).toEqual(["model.safetensors"]);
  });

  test("shards with an index, in place of the file that was there", async () => {
    const dir = await folder();
    const path = join(dir, "model.safetensors");
    const tensors = Array.from({ length: 7 }, (_, i) => tensor(`t${i}`, "f32", [4 + i]));
    await writeSafetensors(path, [tensor("old", "f32", [1])]);
    await writeSafetensors(path, tensors, { maxShardBytes: 70 });
    const names = (await readdir(dir)).sort();
    expect(names.slice(0, 2)).toEqual([
      "model-00001-of-00004.safetensors",
      "model-00002-of-00004.safetensors",
    ]);
    expect(names).toHaveLength(5);
    const index = JSON.parse(await readFile(`${path}.index.json`, "utf8"));
    expect(index.metadata.total_size).toBe((4 + 5 + 6 + 7 + 8 + 9 + 10) * 4);
    expect(index.weight_map.t0).toBe(names[0]);

    const file = await readSafetensorsFolder(dir);
    expect([...file.tensors.keys()]).toEqual(tensors.map(({ name }) => name));
    expect(file.sources).toHaveLength(4);
    for (const wanted of tensors) {
      expect(Buffer.compare(await readTensor(file.tensors.get(wanted.name)!), await bytesOf(wanted))).toBe(0);
    }
    await file.close();
  });

  test("pieces are streamed, in and out", async () => {
    const dir = await folder();
    const path = join(dir, "model.safetensors");
    const whole = Uint8Array.from({ length: 4000 }, (_, i) => i * 7);
    async function* pieces() {
      for (let at = 0; at < 4000; at += 300) yield whole.subarray(at, at + 300);
    }
    await writeSafetensors(path, [{ name: "t", type: "u8", shape: [4000], data: pieces }]);
    const source = await openFile(path);
    const { tensors } = await readSafetensors(source);
    const got: Uint8Array[] = [];
    for await (const piece of streamTensor(tensors.get("t")!, 1024)) got.push(piece);
    expect(got.map(({ length }) => length)).toEqual([1024, 1024, 1024, 928]);
    expect(Buffer.compare(Buffer.concat(got), whole)).toBe(0);
    await source.close();
  });

  test("no tensors at all", async () => {
    const dir = await folder();
    await writeSafetensors(join(dir, "model.safetensors"), [], { metadata: new Map(), maxShardBytes: 10 });
    expect((await readFile(join(dir, "model.safetensors"))).toString("latin1")).toBe(
      "\b\0\0\0\0\0\0\0{}      ",
    );
    const file = await readSafetensorsFolder(dir);
    expect(file.tensors.size).toBe(0);
    await file.close();
  });
});

describe("refused when written, leaving what was there", () => {
  test.each<[string, TensorToWrite[], string]>([
    ["a name twice", [tensor("a", "f32", [1]), tensor("a", "f32", [1])], 'tensor name "a" is taken'],
    ["the metadata's name", [tensor("__metadata__", "f32", [1])], 'tensor name "__metadata__" is taken'],
    [
      "a type of GGUF",
      [tensor("q", "q4_0", [32])],
      'tensor "q" has type q4_0, want one that safetensors has',
    ],
    [
      "too much data",
      [tensor("ok", "f32", [100]), { ...tensor("a", "f32", [1]), data: async () => new Uint8Array(5) }],
      'tensor "a" gave at least 5 bytes, want 4',
    ],
    [
      "data that fails",
      [{ ...tensor("a", "f32", [1]), data: () => Promise.reject(new Error("no such layer")) }],
      "no such layer",
    ],
  ])("%s", async (_, tensors, message) => {
    for (const maxShardBytes of [Infinity, 300]) {
      const dir = await folder();
      await writeFile(join(dir, "model.safetensors"), "before");
      await expect(
        writeSafetensors(join(dir, "model.safetensors"), tensors, { maxShardBytes }),
      ).rejects.toThrow(message);
      expect(await readdir(dir)).toEqual(["model.safetensors"]);
      expect(await readFile(join(dir, "model.safetensors"), "utf8")).toBe("before");
    }
  });

  test("a name without .safetensors", async () => {
    await expect(writeSafetensors(join(root, "model.bin"), [])).rejects.toThrow(
      "want a name that ends in .safe",
    );
  });
});

describe("refused when read", () => {
  const file = (header: string | Uint8Array, data = 0, length?: number) => {
    const json = Buffer.from(header as string);
    const head = new BigUint64Array([BigInt(length ?? json.length)]);
    return fromBytes("m.safetensors", Buffer.concat([Buffer.from(head.buffer), json, Buffer.alloc(data)]));
  };
  const entry = (dtype: string, shape: string, offsets: string) =>
    `{"a":{"dtype":${dtype},"shape":${shape},"data_offsets":${offsets}}}`;

  test.each([
    ["header past the end", file("{}", 0, 3), "length of the header is 3, want at most 2"],
    ["header of 2^53", file("{}", 0, 2 ** 53), "length of the header is 9007199254740992, want at most 2"],
    [
      "header with space before",
      file(" {}"),
      "found first bytes 03 00 00 00 00 00 00 00, want a safetensors file",
    ],
    ["an array", file("[1]"), "want a safetensors file"],
    ["not UTF-8", file(Buffer.from("7b22ff223a317d", "hex")), "header is not UTF-8, want UTF-8"],
    ["not JSON", file("{a}"), ", want JSON"],
    ["cut JSON", file('{"a":'), "found Unexpected end of JSON input, want JSON"],
    ["trailing JSON", file("{}{}"), ", want JSON"],
    ["deep JSON", file(`{"a":${"[".repeat(1000)}`), "found JSON nested deeper than 16, want"],
    ["a control character", file('{"a\n":1}'), ", want JSON"],
    ["a wrong escape", file('{"\\x":1}'), ", want JSON"],
    ["a leading zero", file('{"a":01}'), ", want JSON"],
    ["a key twice", file('{"a":1,"\\u0061":1}'), 'found key "a" again at character 7, want each key once'],
    ["dtype twice", file('{"a":{"dtype":"F32","dtype":"F16"}}'), 'found key "dtype" again at character 20'],
    ["metadata of numbers", file('{"__metadata__":{"a":1}}'), '"a" in "__metadata__" is 1, want a string'],
    ["metadata a string", file('{"__metadata__":"x"}'), '"__metadata__" is "x", want an object of strings'],
    ["entry a number", file('{"a":1}'), 'entry of tensor "a" is 1, want an object'],
    [
      "an unknown field",
      file('{"a":{"offset":1}}'),
      'entry of tensor "a" is with "offset", want dtype, shape',
    ],
    ["no dtype", file('{"a":{}}'), 'dtype of tensor "a" is missing, want a dtype'],
    ["unknown dtype", file(entry('"F33"', "[1]", "[0,4]"), 4), 'dtype of tensor "a" is "F33", want a dtype'],
    ["shape negative", file(entry('"F32"', "[-1]", "[0,4]"), 4), 'shape of tensor "a" is [-1], want'],
    ["shape a fraction", file(entry('"F32"', "[1.5]", "[0,4]"), 4), 'shape of tensor "a" is [1.5], want'],
    ["shape beyond 2^53", file(entry('"F32"', "[9007199254740993]", "[0,4]"), 4), "shape of tensor"],
    ["nine dimensions", file(entry('"F32"', "[1,1,1,1,1,1,1,1,1]", "[0,4]"), 4), "want at most 8 whole"],
    [
      "a huge product",
      file(entry('"F32"', "[4294967296,4294967296]", "[0,4]"), 4),
      "want a possible number of",
    ],
    [
      "shape and offsets",
      file(entry('"F32"', "[2]", "[0,4]"), 4),
      "is 4 bytes long, want 8 bytes, from F32 [2]",
    ],
    ["half a byte", file(entry('"F4"', "[3]", "[0,2]"), 2), "want a possible number of bytes, from F4 [3]"],
    [
      "begin after end",
      file(entry('"F32"', "[1]", "[4,0]"), 4),
      "is [4,0], want [begin, end] with begin <= end",
    ],
    ["three offsets", file(entry('"F32"', "[1]", "[0,4,4]"), 4), "want [begin, end]"],
    ["past the end", file(entry('"F32"', "[2]", "[0,8]"), 4), "is [0,8], want an end up to 4"],
    ["a hole before", file(entry('"F32"', "[1]", "[4,8]"), 8), 'begin of tensor "a" is 4, want 0'],
    ["bytes after", file(entry('"F32"', "[1]", "[0,4]"), 5), "size of the data is 5, want 4"],
  ])("%s", async (_, source, message) => {
    const error = await readSafetensors(source).catch((e) => e);
    expect(error).toBeInstanceOf(SyntaxError);
    expect(error.message).toContain('Cannot read "m.safetensors": ');
    expect(error.message).toContain(message);
  });

  test("an overlap and a hole between two", async () => {
    const two = (begin: number, end: number) =>
      file(
        `{"a":{"dtype":"U8","shape":[8],"data_offsets":[0,8]},"b":{"dtype":"U8","shape":[${end - begin}],"data_offsets":[${begin},${end}]}}`,
        16,
      );
    expect((await readSafetensors(two(8, 16))).tensors.size).toBe(2);
    await expect(readSafetensors(two(4, 16))).rejects.toThrow('begin of tensor "b" is 4, want 8, where the');
    await expect(readSafetensors(two(12, 16))).rejects.toThrow('begin of tensor "b" is 12, want 8');
  });
});

describe("folders", () => {
  test("without weights", async () => {
    const dir = await folder();
    await expect(readSafetensorsFolder(dir)).rejects.toThrow(
      `Cannot open "${dir}": it has neither model.safetensors nor model.safetensors.index.json`,
    );
  });

  test.each([
    ["../../etc/x.safetensors"],
    ["/etc/x.safetensors"],
    ["a\\b.safetensors"],
    ["model.bin"],
    [".."],
    [7],
  ])("a shard called %s", async (shard) => {
    const dir = await folder();
    await writeFile(join(dir, "model.safetensors.index.json"), JSON.stringify({ weight_map: { w: shard } }));
    await expect(readSafetensorsFolder(dir)).rejects.toThrow('shard of tensor "w" is');
  });

  test("a shard or a tensor that is not there", async () => {
    const dir = await folder();
    const index = join(dir, "model.safetensors.index.json");
    await writeFile(index, JSON.stringify({ weight_map: { w: "s.safetensors" } }));
    await expect(readSafetensorsFolder(dir)).rejects.toThrow('s.safetensors": no such file or directory');
    await writeSafetensors(join(dir, "s.safetensors"), [tensor("v", "f32", [1])]);
    await expect(readSafetensorsFolder(dir)).rejects.toThrow('tensor "w" is missing, which');
    await writeFile(index, '{"weight_map":[]}');
    await expect(readSafetensorsFolder(dir)).rejects.toThrow('"weight_map" is [], want an object');
  });
});

test.skipIf(!existsSync(STORIES))("a real model: stories260K", async () => {
  const file = await readSafetensorsFolder(STORIES.pathname);
  const embedding = file.tensors.get("model.embed_tokens.weight")!;
  expect([embedding.type, embedding.shape]).toEqual(["f32", [512, 64]]);
  // Five layers of nine tensors, the embedding and the last norm; the head is tied.
  expect(file.tensors.size).toBe(5 * 9 + 2);
  const values = await readTensorValues(embedding);
  expect(values.every(Number.isFinite)).toBe(true);
  expect(Math.hypot(...values.subarray(0, 64))).toBeGreaterThan(0.01);

  const dir = await folder();
  await writeSafetensors(
    join(dir, "model.safetensors"),
    [...file.tensors.values()].map((info) => ({ ...info, data: () => streamTensor(info, 10_000) })),
    { maxShardBytes: 300_000, metadata: file.metadata },
  );
  const again = await readSafetensorsFolder(dir);
  for (const [name, info] of file.tensors) {
    expect(Buffer.compare(await readTensor(info), await readTensor(again.tensors.get(name)!))).toBe(0);
  }
  await Promise.all([file.close(), again.close()]);
});

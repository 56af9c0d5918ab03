import { execFileSync } from "node:child_process";
import { mkdir, mkdtemp, open, readdir, readFile, rm, symlink, truncate, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { readGguf } from "./gguf.ts";
import { readSafetensors } from "./safetensors.ts";
import { sniff } from "./sniff.ts";
import { fromBytes, openFile } from "./source.ts";
import { readTensor } from "./tensors.ts";
import { stageFile, writeFileAtomic } from "./write.ts";

let dir = "";
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-source-"));
});
afterAll(() => rm(dir, { recursive: true }));

describe("openFile", () => {
  test("reads ranges, through a link too", async () => {
    await writeFile(join(dir, "blob"), "0123456789");
    await symlink("blob", join(dir, "link"));
    const source = await openFile(join(dir, "link"));
    expect([source.size, source.path]).toEqual([10, join(dir, "link")]);
    expect(Buffer.from(await source.read(3, 4)).toString()).toBe("3456");
    expect((await source.read(10, 0)).length).toBe(0);
    await expect(source.read(8, 3)).rejects.toThrow("found bytes 8 to 11, want at most its 10");
    await expect(source.read(-1, 3)).rejects.toThrow("found offset -1 and length 3, want whole numbers");
    await expect(source.read(0.5, 3)).rejects.toThrow(RangeError);
    await truncate(join(dir, "blob"), 5);
    await expect(source.read(3, 4)).rejects.toThrow("it ends at byte 5 now, but had 10 when opened");
    await source.close();
    await source.close();
    await expect(source.read(0, 1)).rejects.toThrow("it is closed");
  });

  test("refuses what is not a file", async () => {
    await expect(openFile(dir)).rejects.toThrow(`Cannot open "${dir}": found a directory, want a file`);
    await expect(openFile(join(dir, "absent"))).rejects.toThrow("no such file or directory");
    if (process.platform === "win32") return;
    await expect(openFile("/dev/zero")).rejects.toThrow(
      'Cannot open "/dev/zero": found a device, want a file',
    );
    const fifo = join(dir, "fifo");
    execFileSync("mkfifo", [fifo]);
    await expect(openFile(fifo)).rejects.toThrow("found a FIFO, want a file");
  });

  test("positions beyond 4 GiB", async (context) => {
    const path = join(dir, "sparse.safetensors");
    const gap = 5 * 2 ** 30;
    const header = Buffer.from(
      JSON.stringify({
        gap: { dtype: "U8", shape: [gap], data_offsets: [0, gap] },
        tail: { dtype: "U8", shape: [4], data_offsets: [gap, gap + 4] },
      }),
    );
    const handle = await open(path, "w");
    try {
      await handle.write(Buffer.from(new BigUint64Array([BigInt(header.length)]).buffer));
      await handle.write(header);
      try {
        await handle.truncate(8 + header.length + gap);
        await handle.write(Buffer.from("tail"), 0, 4, 8 + header.length + gap);
      } catch (error) {
        context.skip(`the disk refuses a sparse file of 5 GiB: ${error}`);
      }
    } finally {
      await handle.close();
    }
    const source = await openFile(path);
    const { tensors } = await readSafetensors(source);
    expect(Buffer.from(await readTensor(tensors.get("tail")!)).toString()).toBe("tail");
    // Across the border of 4 GiB, where 32-bit arithmetic would wrap.
    expect((await source.read(2 ** 32 - 3, 6)).every((byte) => byte === 0)).toBe(true);
    await expect(readTensor(tensors.get("gap")!)).rejects.toThrow(
      "want at most 4294967296; read it in pieces",
    );
    await source.close();
  });
});

describe("sniff", () => {
  const foreign: [string, string | number[], string][] = [
    ["a pickle", [0x80, 2, 0x8a, 0x0a, 0x6c, 0xfc], "found a pickle, which can run code"],
    ["a pickle of protocol 4", [0x80, 4, 0x95, 1, 0, 0, 0, 0, 0, 0, 0], "found a pickle, which can run code"],
    ["a .pt or .npz", [0x50, 0x4b, 3, 4, 20, 0], "found a zip archive (PyTorch .pt/.bin or NumPy .npz)"],
    ["HDF5", [0x89, 0x48, 0x44, 0x46, 0x0d, 0x0a, 0x1a, 0x0a], "found an HDF5 file"],
    ["NumPy", [0x93, 0x4e, 0x55, 0x4d, 0x50, 0x59, 1, 0], "found a NumPy array"],
    ["gzip", [0x1f, 0x8b, 8], "found a gzip archive"],
    ["tar", [...new Array(257).fill(0x61), ...Buffer.from("ustar")], "found a tar archive"],
    ["old GGML", "tjgg\x01\0\0\0", "found a GGML file from before GGUF"],
    [
      "Git LFS",
      "version https://git-lfs.github.com/spec/v1\n",
      "found a Git LFS pointer, not the file itself",
    ],
    ["a web page", "<!DOCTYPE html>", "found a web page"],
    ["nothing", "", "found an empty file"],
    ["noise", "hello world", "found first bytes 68 65 6c 6c 6f 20 77 6f, want a GGUF or safetensors file"],
  ];

  test.each(foreign)("refuses %s", async (_, content, message) => {
    const source = fromBytes(
      "model.gguf",
      typeof content === "string" ? Buffer.from(content) : Uint8Array.from(content),
    );
    await expect(sniff(source)).rejects.toThrow(message);
    await expect(readGguf(source)).rejects.toThrow('Cannot read "model.gguf": found');
    await expect(readSafetensors(source)).rejects.toThrow('Cannot read "model.gguf": found');
  });

  test("knows its own, also when a header length looks like a pickle", async () => {
    expect(await sniff(fromBytes("g", Buffer.from("GGUF\x03\0\0\0")))).toBe("gguf");
    const json = `{${" ".repeat(0x0280 - 2)}}`;
    const bytes = Buffer.concat([Uint8Array.of(0x80, 2, 0, 0, 0, 0, 0, 0), Buffer.from(json)]);
    expect(await sniff(fromBytes("s", bytes))).toBe("safetensors");
    expect((await readSafetensors(fromBytes("s", bytes))).tensors.size).toBe(0);
  });
});

describe("writeFileAtomic", () => {
  async function* chunks(...parts: (string | Error | (() => void))[]) {
    for (const part of parts) {
      if (part instanceof Error) throw part;
      if (typeof part === "function") part();
      else yield Buffer.from(part);
    }
  }

  test("writes, replaces, and leaves nothing beside", async () => {
    const folder = join(dir, "write");
    await mkdir(folder);
    const path = join(folder, "f");
    await writeFileAtomic(path, "one");
    await writeFileAtomic(path, chunks("two", "", "three"));
    expect(await readFile(path, "utf8")).toBe("twothree");
    expect(await readdir(folder)).toEqual(["f"]);
  });

  test("an error or an abort keeps the old file and removes the new", async () => {
    const folder = join(dir, "abort");
    await mkdir(folder);
    const path = join(folder, "f");
    await writeFileAtomic(path, "old");
    await expect(writeFileAtomic(path, chunks("ne", new Error("the source failed")))).rejects.toThrow(
      "the source failed",
    );
    const controller = new AbortController();
    const reason = new Error("stopped by the user");
    const aborted = chunks("ne", () => controller.abort(reason), "w", "never");
    await expect(writeFileAtomic(path, aborted, controller.signal)).rejects.toBe(reason);
    await expect(writeFileAtomic(path, "new", AbortSignal.abort(reason))).rejects.toBe(reason);
    const staged = await stageFile(path, [Buffer.from("staged")]);
    expect(await readdir(folder)).toHaveLength(2);
    await staged.discard();
    expect(await readdir(folder)).toEqual(["f"]);
    expect(await readFile(path, "utf8")).toBe("old");
  });

  test("names the file when the disk refuses", async () => {
    await expect(writeFileAtomic(dir, "x")).rejects.toThrow(`Cannot write "${dir}": found a directory there`);
    const path = join(dir, "absent", "f");
    await expect(writeFileAtomic(path, "x")).rejects.toThrow(
      `Cannot write "${path}": no such file or directory`,
    );
  });
});

import { mkdir, mkdtemp, rm, writeFile } from "node:fs/promises";
import { homedir, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { hubServer } from "../../test/helpers/hub-server.ts";
import { hubCache } from "../hub/cache.ts";
import { pull } from "../hub/pull.ts";
import { resolveModel } from "./resolve.ts";

let dir: string;
beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-resolve-"));
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function folder(name: string, files: readonly string[]): Promise<string> {
  const path = join(dir, name);
  await mkdir(path, { recursive: true });
  for (const file of files) await writeFile(join(path, file), "");
  return path;
}

describe("paths", () => {
  test("a folder with config.json and safetensors", async () => {
    const path = await folder("hf", ["config.json", "model.safetensors", "pytorch_model.bin"]);
    expect(await resolveModel(path)).toEqual({ kind: "folder", path });
  });

  test("a GGUF file, by itself or the only one of a folder", async () => {
    const path = join(await folder("one", ["README.md", "m.Q4_0.gguf"]), "m.Q4_0.gguf");
    await writeFile(path, "GGUF....");
    expect(await resolveModel(path)).toEqual({ kind: "gguf", path });
    expect(await resolveModel(join(dir, "one"))).toEqual({ kind: "gguf", path });
  });

  test.each([
    [
      "several GGUF files",
      ["a.gguf", "b.gguf"],
      "found 2 GGUF files, wanted one; name one of a.gguf, b.gguf",
    ],
    [
      "only pickles",
      ["config.json", "pytorch_model.bin"],
      'found weights only in "pytorch_model.bin", wanted *.safetensors; a pickle',
    ],
    [
      "no weights",
      ["config.json", "tokenizer.json"],
      "*.safetensors is missing; found config.json, tokenizer.json",
    ],
    ["no config", ["model.safetensors"], "config.json is missing; found model.safetensors"],
    ["nothing", [], "config.json is missing; found an empty folder"],
  ])("a folder with %s", async (name, files, message) => {
    const path = await folder(name, files);
    await expect(resolveModel(path)).rejects.toThrow(`Cannot open model ${JSON.stringify(path)}: ${message}`);
  });

  test.each<[string, Uint8Array, string]>([
    [
      "model.safetensors",
      new TextEncoder().encode("\u0002\0\0\0\0\0\0\0{}"),
      "found a safetensors file, wanted a folder",
    ],
    ["model.pt", Uint8Array.of(0x50, 0x4b, 3, 4, 0), "a zip archive (PyTorch"],
    ["old.bin", Uint8Array.of(0x80, 2, 0x8a, 10), "found a pickle, which can run code when it is opened"],
    ["empty.gguf", Uint8Array.of(), "found an empty file"],
  ])("a file that is no model: %s", async (file, bytes, message) => {
    const path = join(await folder("files", []), file);
    await writeFile(path, bytes);
    await expect(resolveModel(path)).rejects.toThrow(message);
  });

  test("a GGUF file by another name", async () => {
    const path = join(await folder("files", []), "blob");
    await writeFile(path, "GGUF....");
    expect(await resolveModel(path)).toEqual({ kind: "gguf", path });
  });

  test("nothing of that name", async () => {
    await expect(resolveModel(join(dir, "absent"))).rejects.toThrow(
      "found no such file or folder, wanted a folder, a GGUF file or a hub name like owner/name",
    );
  });
});

describe("the hub cache", () => {
  test("its place, by Hugging Face's variables", () => {
    expect(hubCache({ HF_HUB_CACHE: "/a", HF_HOME: "/b" })).toBe("/a");
    expect(hubCache({ HF_HOME: "/b", XDG_CACHE_HOME: "/c" })).toBe("/b/hub");
    expect(hubCache({ XDG_CACHE_HOME: "/c" })).toBe("/c/huggingface/hub");
    expect(hubCache({})).toBe(join(homedir(), ".cache/huggingface/hub"));
  });

  test("a model's main revision", async () => {
    const commit = "0123456789abcdef0123456789abcdef01234567";
    const path = await folder(`hub/models--owner--name/snapshots/${commit}`, [
      "config.json",
      "model.safetensors",
    ]);
    await folder("hub/models--owner--name/snapshots/other", ["config.json", "model.safetensors"]);
    await folder("hub/models--owner--name/refs", []);
    await writeFile(join(dir, "hub/models--owner--name/refs/main"), `${commit}\n`);
    expect(await resolveModel("owner/name", { HF_HUB_CACHE: join(dir, "hub") })).toEqual({
      kind: "folder",
      path,
    });
  });

  test("without a ref, the only snapshot", async () => {
    const path = await folder("hub/models--o--single/snapshots/abc", ["config.json", "model.safetensors"]);
    expect(await resolveModel("o/single", { HF_HUB_CACHE: join(dir, "hub") })).toEqual({
      kind: "folder",
      path,
    });
  });

  test("a model that is not there; a ref that leads elsewhere is not followed", async () => {
    const env = { HF_HUB_CACHE: join(dir, "hub") };
    await expect(resolveModel("no/model", env)).rejects.toThrow(
      `nor a snapshot of it in the hub cache ${JSON.stringify(env.HF_HUB_CACHE)}; download it first, with: pith pull no/model`,
    );
    await folder("hub/models--e--vil/refs", []);
    await writeFile(join(dir, "hub/models--e--vil/refs/main"), "../../../hf");
    await expect(resolveModel("e/vil", env)).rejects.toThrow("nor a snapshot of it");
    await expect(resolveModel("../x/y", env)).rejects.toThrow("wanted a folder, a GGUF file or a hub name");
  });
});

describe("what was pulled", () => {
  const gguf = (seed: number) => new Uint8Array([0x47, 0x47, 0x55, 0x46, ...new Uint8Array(4000).fill(seed)]);

  test("a folder, by name; one quantization of several", async () => {
    const cache = join(dir, "pulled");
    const env = { HF_HUB_CACHE: cache };
    const hub = await hubServer("o/m", {
      "m-Q4_K_M.gguf": gguf(1),
      "m-Q8_0.gguf": gguf(2),
      "m-F16.gguf": gguf(3),
    });
    try {
      const bring = (name: string) => pull(name, { endpoint: hub.endpoint, cache });
      const { path: usual } = await bring("o/m");
      expect(await resolveModel("o/m", env)).toEqual({ kind: "gguf", path: usual });
      const { path } = await bring("o/m:q8_0");
      expect(await resolveModel("o/m:Q8_0", env)).toEqual({ kind: "gguf", path });
      await expect(resolveModel("o/m", env)).rejects.toThrow("found 2 GGUF files, wanted one");
      await expect(resolveModel("o/m:F16", env)).rejects.toThrow("pith pull o/m:F16");
      hub.files.clear();
      hub.files.set("config.json", new TextEncoder().encode("{}")).set("model.safetensors", gguf(4));
      const folder = await bring("o/m");
      expect(await resolveModel("o/m", env)).toEqual({ kind: "folder", path: folder.path });
    } finally {
      await hub.close();
    }
  });

  test("half a download names the way on", async () => {
    const cache = join(dir, "half");
    const hub = await hubServer("o/m", {
      "config.json": new TextEncoder().encode("{}"),
      "model.safetensors": gguf(4),
    });
    hub.misbehave = (path, _, right) => (path === "model.safetensors" ? { ...right, cutAt: 1000 } : right);
    await expect(pull("o/m", { endpoint: hub.endpoint, cache, tries: 1 })).rejects.toThrow(
      "model.safetensors",
    );
    await hub.close();
    await expect(resolveModel("o/m", { HF_HUB_CACHE: cache })).rejects.toThrow(
      "its download is not finished; go on with: pith pull o/m",
    );
  });
});

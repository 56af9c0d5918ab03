// What only a process of its own shows: a disk that is full. A limit on the size of files stands for the disk.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdir, mkdtemp, readdir, readFile, rm, symlink, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join, resolve } from "node:path";
import { afterAll, beforeAll, expect, test } from "vitest";
import { buildFolders } from "../../test/helpers/built.ts";

const ROOT = resolve(import.meta.dirname, "../..");
let dir: string;

beforeAll(async () => {
  dir = await mkdtemp(join(tmpdir(), "pith-quantize-full-"));
  await buildFolders(join(dir, "js"), ["quantize"]);
  for (const name of ["native", "wasm", "node_modules", "package.json"])
    await symlink(join(ROOT, name), join(dir, name)).catch(() => {});
  for (const method of ["rtn", "gptq"]) await mkdir(join(dir, method));
  await writeFile(
    join(dir, "text.txt"),
    "Once upon a time there was a small cat who liked to sing.\n".repeat(80),
  );
  await writeFile(
    join(dir, "js/run.js"),
    `import { quantize } from "./quantize/index.js";
     const [out, method] = process.argv.slice(2);
     await quantize(${JSON.stringify(join(ROOT, "models/stories"))}, {
       to: "q4_0", method, calibration: ${JSON.stringify(join(dir, "text.txt"))}, tokens: 512, out, resume: true, threads: 1,
     }).result;`,
  );
});
afterAll(() => rm(dir, { recursive: true, force: true }));

async function run(out: string, method: string, limits = ""): Promise<{ code: number; err: string }> {
  const line = `${limits}exec "${process.execPath}" "${join(dir, "js/run.js")}" "${out}" ${method}`;
  const child = spawn("bash", ["-c", line], { stdio: ["ignore", "ignore", "pipe"] });
  const [err, [code]] = await Promise.all([child.stderr.toArray(), once(child, "close")]);
  return { code, err: err.join("") };
}

test.each(["rtn", "gptq"])(
  "%s: a full disk is told, nothing half-written stays, and there is room again",
  async (method) => {
    const out = join(dir, method, "small.gguf");
    const full = await run(out, method, "ulimit -f 32; ");
    expect(full.code).not.toBe(0);
    expect(full.err).toMatch(/Cannot write ".*": /);
    const left = await readdir(join(dir, method), { recursive: true });
    expect(left.filter((name) => /\.tmp$|(^|\/)part-|^[^.].*\.(gguf|html)$/.test(name))).toEqual([]);
    expect(await run(out, method)).toEqual({ code: 0, err: "" });
    const whole = join(dir, `${method}-whole.gguf`);
    expect(await run(whole, method)).toEqual({ code: 0, err: "" });
    expect(Buffer.compare(await readFile(out), await readFile(whole))).toBe(0);
  },
  60_000,
);

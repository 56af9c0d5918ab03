// A lock is free when its holder is gone, whatever it left behind.
import { spawnSync } from "node:child_process";
import { mkdtemp, readdir, readFile, rm, utimes, writeFile } from "node:fs/promises";
import { hostname, tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, it } from "vitest";
import { holdLock } from "./lock.ts";

const folder = await mkdtemp(join(tmpdir(), "pith-lock-"));
afterAll(() => rm(folder, { recursive: true }));
const path = join(folder, "lock");
const busy = "Cannot work";

it("is held by one at a time, and named while it is", async () => {
  const first = await holdLock(path);
  await expect(holdLock(path, { busy })).rejects.toThrow(
    `Cannot work: process ${process.pid} on ${hostname()} holds`,
  );
  let second = false;
  const waiting = holdLock(path).then((lock) => {
    second = true;
    return lock;
  });
  await new Promise((resolve) => setTimeout(resolve, 150));
  expect(second).toBe(false);
  await first.release();
  await (await waiting).release();
  expect(await readdir(folder)).toEqual([]);
});

it("of a process that is gone is free at once", async () => {
  const { pid } = spawnSync(process.execPath, ["--version"]);
  await writeFile(path, `${pid} ${hostname()} 0`);
  const lock = await holdLock(path, { busy });
  expect(await readFile(path, "utf8")).toMatch(new RegExp(`^${process.pid} `));
  await lock.release();
});

it("that was made and never written is free after a moment", async () => {
  await writeFile(path, "");
  const start = Date.now();
  const lock = await holdLock(path, { busy });
  // Files have times of milliseconds or worse.
  expect(Date.now() - start).toBeGreaterThan(1_500);
  await lock.release();
  await writeFile(path, "");
  await utimes(path, new Date(Date.now() - 5_000), new Date(Date.now() - 5_000));
  await (await holdLock(path, { busy })).release();
  expect(await readdir(folder)).toEqual([]);
});

it("of another machine is waited for, until nobody has touched it for long", async () => {
  await writeFile(path, "1 elsewhere 0");
  await expect(holdLock(path, { busy })).rejects.toThrow("process 1 on elsewhere holds");
  await expect(holdLock(path, { signal: AbortSignal.timeout(50) })).rejects.toThrow();
  await utimes(path, new Date(Date.now() - 120_000), new Date(Date.now() - 120_000));
  await (await holdLock(path, { busy })).release();
});

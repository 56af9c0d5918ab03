import { totalmem } from "node:os";
import { expect, it } from "vitest";
import { NativeBackend } from "./backends/native.ts";
import { availableMemory, doctor } from "./doctor.ts";
import { chooseThreads, usableCores } from "./machine.ts";

it("reports the machine", () => {
  const report = doctor();
  expect(report.threads).toBe(chooseThreads());
  expect(report.cores).toBe(usableCores());
  expect(report.memory.total).toBe(totalmem());
  expect(report.memory.available).toBeGreaterThan(16 << 20);
  expect(report.memory.available).toBeLessThanOrEqual(totalmem());
  expect(availableMemory()).toBeGreaterThan(16 << 20);
  if (!NativeBackend.available()) {
    expect(report).toMatchObject({ backend: "wasm", reason: expect.stringContaining("Cannot use") });
    return;
  }
  expect(report.backend).toBe("native");
  expect(report.isas).toEqual(NativeBackend.kernels());
  const counts = Object.keys(report.bandwidth_gbps).map(Number);
  expect(counts).toContain(report.threads);
  for (const n of counts) expect(report.bandwidth_gbps[n]).toBeGreaterThan(0.5);
});

it("takes the number of threads from the caller, the environment or the cores", () => {
  expect(chooseThreads(3)).toBe(3);
  const before = process.env.PITH_THREADS;
  try {
    process.env.PITH_THREADS = "5";
    expect(chooseThreads()).toBe(5);
    expect(chooseThreads(2)).toBe(2);
    process.env.PITH_THREADS = "many";
    expect(() => chooseThreads()).toThrow("Cannot use many threads: wanted a whole number from 1 to 64");
    delete process.env.PITH_THREADS;
    expect(chooseThreads()).toBe(Math.min(64, usableCores()));
  } finally {
    if (before === undefined) delete process.env.PITH_THREADS;
    else process.env.PITH_THREADS = before;
  }
});

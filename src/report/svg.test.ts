import { expect, test } from "vitest";
import { lineChart, shortNumber, smoothed, ticks } from "./svg.ts";

test("axes have round numbers that cover the values", () => {
  expect(ticks(0, 10, 5)).toEqual([0, 2, 4, 6, 8, 10]);
  expect(ticks(1.83, 4.21, 5)).toEqual([1.5, 2, 2.5, 3, 3.5, 4, 4.5]);
  expect(ticks(0, 2e-4, 5)).toEqual([0, 5e-5, 1e-4, 1.5e-4, 2e-4]);
  expect(ticks(3, 3, 5)).toContain(3);
  expect(ticks(-1, 1, 4)).toEqual([-1, -0.5, 0, 0.5, 1]);
  expect([0, 0.5, 12345, 2_000_000, 0.00012, 1999].map(shortNumber)).toEqual([
    "0",
    "0.5",
    "12.35k",
    "2M",
    "1.2e-4",
    "1999",
  ]);
  const noisy = Array.from({ length: 400 }, (_, i) => i + (i % 2 ? 3 : -3));
  for (const [i, y] of smoothed(noisy).entries()) expect(Math.abs(y - i)).toBeLessThan(3.1);
  expect(Math.abs(smoothed(noisy)[200]! - 200)).toBeLessThan(0.5);
});

test("a chart stays within its frame, of many points as of one, and draws nothing of nothing", () => {
  const many = Array.from(
    { length: 50_000 },
    (_, i) => [i, 3 + Math.sin(i / 7) + (i % 97 === 0 ? 50 : 0)] as const,
  );
  const svg = lineChart({
    title: "a < b",
    x: "step",
    series: [{ name: "l", points: many, kind: "smooth", colour: 1 }],
  });
  expect(svg.length).toBeLessThan(30_000);
  expect(svg).toContain("a &lt; b");
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  for (const [, x, y] of svg.matchAll(/[ML]([\d.-]+) ([\d.-]+)/g)) {
    expect(Number(x)).toBeGreaterThanOrEqual(58);
    expect(Number(x)).toBeLessThanOrEqual(626);
    expect(Number(y)).toBeGreaterThanOrEqual(34);
    expect(Number(y)).toBeLessThanOrEqual(226);
  }
  const one = lineChart({ title: "t", x: "s", series: [{ name: "l", points: [[1, 2]], colour: 2 }] });
  expect(one).toContain("<circle");
  expect(one).not.toMatch(/NaN|Infinity/);
  const nothing = [{ name: "l", points: [[1, Number.NaN] as const], colour: 1 as const }];
  expect(lineChart({ title: "t", x: "s", series: nothing })).toBe("");
});

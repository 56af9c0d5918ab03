import { expect, test } from "vitest";
import { logTicks, scatterChart, spreadChart } from "./scatter.ts";

test("axes of logarithms cover their values", () => {
  expect(logTicks(0.6, 1.8)).toEqual([0.5, 1, 2]);
  expect(logTicks(3, 3)).toEqual([2, 5]);
  expect(logTicks(0.02, 300)).toEqual([0.01, 0.1, 1, 10, 100, 1000]);
  expect(logTicks(1, 10)).toEqual([1, 2, 5, 10]);
});

test("points that lie close keep names that do not cover each other, within the frame", () => {
  const points = Array.from({ length: 6 }, (_, i) => ({
    ...{ name: `variant <${i}>`, x: 100 + i, y: 10 + i / 10, low: 9, high: 12 },
    colour: ((i % 4) + 1) as 1 | 2 | 3 | 4,
  }));
  const svg = scatterChart({ title: "quality", x: "MB", points });
  expect(svg.match(/<circle/g)).toHaveLength(6);
  expect(svg).toContain("variant &lt;0&gt;");
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  const places = [...svg.matchAll(/class="name[^>]*anchor="(\w+)" x="([\d.]+)" y="([\d.]+)"/g)];
  expect(places).toHaveLength(6);
  expect(new Set(places.map(([, anchor, , y]) => `${anchor} ${y}`)).size).toBe(6);
  for (const [, , x, y] of places) {
    expect(Number(x)).toBeLessThan(640);
    expect(Number(y)).toBeLessThan(260);
  }
  expect(scatterChart({ title: "one", x: "MB", points: points.slice(0, 1) })).toBe("");
});

test("spreads stand under each other, with marks and a line to compare with; of nothing there is none", () => {
  const values = Array.from({ length: 200 }, (_, i) => 5 + (i % 20) / 10).sort((a, b) => a - b);
  const spread = { name: "a", values, marks: [{ name: "half", value: 6 }], colour: 1 as const };
  const line = { value: 200, name: "far" };
  const svg = spreadChart({ title: "t", x: "ms", spreads: [spread, { ...spread, values: [7] }], line });
  expect(svg.match(/class="hill/g)).toHaveLength(2);
  expect(svg).toContain('class="limit"');
  expect(svg).not.toMatch(/NaN|Infinity|undefined/);
  expect(spreadChart({ title: "t", x: "ms", spreads: [{ ...spread, values: [] }] })).toBe("");
});

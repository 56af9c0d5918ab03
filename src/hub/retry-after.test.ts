import { expect, it } from "vitest";
import { retryAfter } from "./retry-after.ts";

it.each([
  ["2", 2000],
  [" 0.5 ", 500],
  ["0", undefined],
  ["-1", undefined],
  ["soon", undefined],
  ["", undefined],
  [null, undefined],
  ["Wed, 21 Oct 2015 07:28:00 GMT", undefined],
])("%j is %s ms", (header, ms) => {
  expect(retryAfter(header)).toBe(ms);
});

it("a date is the time until then", () => {
  const ms = retryAfter(new Date(Date.now() + 60_000).toUTCString())!;
  expect(ms).toBeGreaterThan(50_000);
  expect(ms).toBeLessThanOrEqual(60_000);
});

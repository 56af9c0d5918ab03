import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { StopMatcher } from "./stop.ts";

function feed(stops: string[], pieces: string[]): { shown: string[]; stopped: boolean } {
  const matcher = new StopMatcher(stops);
  const shown = pieces.map((piece) => matcher.push(piece));
  shown.push(matcher.flush());
  return { shown, stopped: matcher.stopped };
}

describe("StopMatcher", () => {
  it("finds a stop string across pieces and cuts before it", () => {
    expect(feed(["\n\nUser:"], ["Hi", "\n", "\nUs", "er", ": x"])).toEqual({
      shown: ["Hi", "", "", "", "", ""],
      stopped: true,
    });
  });

  it("lets through what turned out to be something else", () => {
    expect(feed(["END"], ["a", "E", "N", "x", "EN"]).shown).toEqual(["a", "", "", "ENx", "", "EN"]);
  });

  it("holds back the longest uncertain end: aab in aaab", () => {
    expect(feed(["aab"], ["a", "a", "a", "b", "c"])).toEqual({
      shown: ["", "", "a", "", "", ""],
      stopped: true,
    });
  });

  it("takes the one of several that is complete first", () => {
    expect(feed(["world", "lo"], ["hello world"]).shown[0]).toBe("hel");
  });

  it("refuses an empty stop string", () => {
    expect(() => new StopMatcher([""])).toThrow(/Cannot stop at ""/);
  });

  it("shows the same text however it is cut into pieces", () => {
    const letters = fc.string({ unit: fc.constantFrom("a", "b"), maxLength: 12 });
    const stops = fc.array(fc.string({ unit: fc.constantFrom("a", "b"), minLength: 1, maxLength: 4 }), {
      maxLength: 3,
    });
    fc.assert(
      fc.property(stops, fc.array(letters, { maxLength: 8 }), (list, pieces) => {
        const text = pieces.join("");
        const found = list
          .map((stop) => ({ at: text.indexOf(stop), end: text.indexOf(stop) + stop.length }))
          .filter(({ at }) => at >= 0)
          .sort((a, b) => a.end - b.end || a.at - b.at);
        const { shown, stopped } = feed(list, pieces);
        expect(stopped).toBe(found.length > 0);
        expect(shown.join("")).toBe(text.slice(0, found[0]?.at));
      }),
    );
  });
});

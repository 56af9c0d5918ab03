import { expect, test } from "vitest";
import { Random } from "../train/random.ts";
import { gramsOf, jaccard, NearDuplicates } from "./near-duplicates.ts";

test("case, white space and punctuation do not tell texts apart, words do", () => {
  const known = new NearDuplicates(0.7);
  known.add("Book a table for two in Paris, please!");
  known.add("東京の天気を教えてください");
  known.add("!!!");
  expect(known.has("book a  table for two in paris please")).toBe(true);
  expect(known.has("Book a table for two in Paris pleas")).toBe(true);
  expect(known.has("Book a table for nine in Berlin tonight")).toBe(false);
  expect(known.has("What is the weather in Paris?")).toBe(false);
  expect(known.has("東京の天気を教えてください。")).toBe(true);
  expect(known.has("大阪でレストランを予約して")).toBe(false);
  expect(known.has("!!!")).toBe(true);
  expect(known.has("???")).toBe(false);
  expect(known.has("")).toBe(false);
});

test("what it finds is what comparing with all finds", () => {
  const random = new Random(3);
  const words = Array.from({ length: 60 }, (_, i) => (i * 7919 + 13).toString(36) + (i * 31).toString(36));
  const text = () => Array.from({ length: 12 }, () => words[random.below(60)]).join(" ");
  const changed = (from: string) => {
    const parts = from.split(" ");
    for (let n = random.below(6); n > 0; n--) parts[random.below(12)] = words[random.below(60)]!;
    return parts.join(" ");
  };
  const known = new NearDuplicates(0.7);
  const all: string[] = [];
  const grams: Uint32Array[] = [];
  let [near, missed] = [0, 0];
  for (let i = 0; i < 400; i++) {
    const one = i % 2 === 0 ? text() : changed(all[random.below(all.length)]!);
    const own = gramsOf(one);
    const right = grams.some((other) => jaccard(own, other) >= 0.7);
    const found = known.has(one);
    if (right) near++;
    if (right && !found) missed++;
    else expect(found).toBe(right);
    known.add(one);
    all.push(one);
    grams.push(own);
  }
  expect(near).toBeGreaterThan(60);
  expect(missed).toBe(0);
});

test("with a threshold of 1, texts of the same grams alone", () => {
  const known = new NearDuplicates(1);
  known.add("Book a table for two");
  known.add("");
  expect(known.has("book a TABLE for two!")).toBe(true);
  expect(known.has("Book a table for two,  a table for two")).toBe(false);
  expect(known.has("Book a table for ten")).toBe(false);
  expect(known.has("")).toBe(true);
});

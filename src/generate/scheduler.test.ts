import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { PAGE } from "../engine/backend.ts";
import type { SampleRow } from "../engine/sampler.ts";
import { PagePool } from "./pages.ts";
import { rowsOf, Scheduler } from "./scheduler.ts";
import { Sequence } from "./sequence.ts";

const greedy: SampleRow = {
  temperature: 0,
  top_k: 0,
  top_p: 1,
  min_p: 0,
  repetition_penalty: 1,
  presence_penalty: 0,
  frequency_penalty: 0,
  seed: [0, 0],
  counter: 0,
  logprobs: -1,
};

function sequence(prompt: number[], maxTokens = 4, scored = false): Sequence {
  return new Sequence(prompt, { sink: { end() {} }, maxTokens, ...(!scored && { sample: { ...greedy } }) });
}

const tokens = (n: number, first = 0) => Array.from({ length: n }, (_, i) => (first + i) % 7);

/**
 * Plays a scheduler's steps on a memory that holds tokens instead of keys and values, and checks at every step that a
 * sequence finds its own past there.
 */
class Play {
  readonly pool: PagePool;
  readonly scheduler: Scheduler;
  readonly memory: Int32Array;
  steps = 0;

  constructor(pages: number, T: number, S: number, R: number) {
    this.pool = new PagePool(pages);
    this.scheduler = new Scheduler(this.pool, { T, S, R });
    this.memory = new Int32Array(pages * PAGE).fill(-1);
  }

  step(): boolean {
    const { scheduler, memory } = this;
    const n = scheduler.plan();
    if (n === 0) {
      expect(scheduler.size, "work left but nothing planned").toBe(0);
      return false;
    }
    this.steps++;
    const { T, S, R } = scheduler.maxima;
    const sum = (f: (s: Sequence) => number) => scheduler.step.reduce((a, s) => a + f(s), 0);
    expect(sum((s) => s.count)).toBeLessThanOrEqual(T);
    expect(sum(rowsOf)).toBeLessThanOrEqual(R);
    expect(n).toBeLessThanOrEqual(S);
    const written = new Set<number>();
    for (const s of scheduler.step) {
      expect(s.count).toBeGreaterThan(0);
      expect(s.npages * PAGE).toBeGreaterThanOrEqual(s.past + s.count);
      const slot = (i: number) => s.pages[Math.floor(i / PAGE)]! * PAGE + (i % PAGE);
      for (let i = 0; i < s.past; i++)
        if (memory[slot(i)] !== s.tokens[i])
          throw new Error(`position ${i} holds ${memory[slot(i)]}, wanted ${s.tokens[i]}`);
      for (let i = s.past; i < s.past + s.count; i++) {
        if (written.has(slot(i))) throw new Error("two sequences write one place");
        written.add(slot(i));
        memory[slot(i)] = s.tokens[i]!;
      }
    }
    const sampled = scheduler.step.filter((s) => s.sample && rowsOf(s) === 1);
    const scored = scheduler.step.filter((s) => !s.sample);
    scheduler.advance();
    for (const s of sampled) {
      s.append((s.length * 5 + s.promptLength) % 7);
      if (s.generated >= s.maxTokens) scheduler.remove(s);
    }
    for (const s of scored) if (s.past === s.length) scheduler.remove(s);
    return true;
  }
}

describe("PagePool", () => {
  it("gives every page once and takes it back", () => {
    const pool = new PagePool(3);
    const pages = [pool.take(), pool.take(), pool.take()];
    expect(new Set(pages)).toEqual(new Set([0, 1, 2]));
    expect(pool.take()).toBe(-1);
    for (const page of pages) pool.release(page);
    expect(pool.available).toBe(3);
    expect(() => pool.release(0)).toThrow(/nobody uses it/);
  });

  it("finds the pages of a prefix again until they are needed", () => {
    const pool = new PagePool(4);
    const text = Int32Array.from(tokens(3 * PAGE));
    const pages = Int32Array.of(pool.take(), pool.take(), pool.take());
    pool.remember(text, 2 * PAGE + 5, pages);
    for (const page of pages) pool.release(page);
    expect(pool.available).toBe(4);
    expect(pool.match(text, 3 * PAGE)).toEqual([pages[0], pages[1]]);
    expect(pool.match(text, 2 * PAGE - 1)).toEqual([pages[0]]);
    expect(pool.match(text, 3 * PAGE, "another adapter")).toEqual([]);
    expect(pool.available).toBe(2);
    pool.release(pages[0]!);
    pool.release(pages[0]!);
    pool.release(pages[1]!);
    for (let i = 0; i < 3; i++) pool.take();
    expect(pool.match(text, 3 * PAGE), "the end of the prefix was given up first").toEqual([pages[0]]);
  });
});

describe("Scheduler", () => {
  it("mixes chunks of a prompt with the tokens of those that go on", () => {
    const play = new Play(16, 32, 4, 4);
    const a = sequence(tokens(10), 20);
    play.scheduler.add(a);
    play.step();
    expect(a.generated).toBe(1);
    const b = sequence(tokens(100));
    play.scheduler.add(b);
    play.step();
    expect([a.generated, b.past]).toEqual([2, 31]);
    play.step();
    expect([a.generated, b.past]).toEqual([3, 62]);
  });

  it("admits the first that wait, and lets nobody overtake a large one", () => {
    const play = new Play(4, 512, 8, 8);
    const a = sequence(tokens(2 * PAGE), 30);
    const large = sequence(tokens(3 * PAGE + 1), 2);
    const small = sequence(tokens(1), 2);
    for (const s of [a, large, small]) play.scheduler.add(s);
    play.step();
    expect([a.state, large.state, small.state]).toEqual(["running", "waiting", "waiting"]);
    while (play.step());
    expect(small.generated).toBe(2);
  });

  it("lets the youngest wait when pages run out, and computes it again", () => {
    const play = new Play(4, 512, 4, 4);
    const a = sequence(tokens(PAGE), 2 * PAGE);
    const b = sequence(tokens(PAGE, 3), 2 * PAGE);
    play.scheduler.add(a);
    play.scheduler.add(b);
    while (play.step());
    expect([a.generated, b.generated]).toEqual([2 * PAGE, 2 * PAGE]);
    expect(play.pool.available).toBe(4);
  });

  it("takes over the pages of an equal beginning", () => {
    const play = new Play(8, 512, 4, 4);
    const prompt = tokens(2 * PAGE + 3);
    play.scheduler.add(sequence(prompt));
    while (play.step());
    const again = sequence(prompt);
    play.scheduler.add(again);
    while (play.step());
    expect(again.cached).toBe(2 * PAGE);
  });

  it("scores no more rows in a step than there are", () => {
    const play = new Play(8, 64, 4, 5);
    const scored = sequence(tokens(23), 0, true);
    const other = sequence(tokens(23), 3);
    play.scheduler.add(scored);
    play.scheduler.add(other);
    while (play.step());
    expect(scored.past).toBe(23);
    expect(other.generated).toBe(3);
  });

  it("refuses maxima that could not move everybody on", () => {
    expect(() => new Scheduler(new PagePool(1), { T: 4, S: 8, R: 8 })).toThrow(/T = 4 .* at least S/);
  });

  it("brings all to their end and every page home, whatever comes and goes", () => {
    const arrival = fc.record({
      at: fc.nat(60),
      prompt: fc.integer({ min: 1, max: 4 * PAGE }),
      first: fc.nat(2),
      maxTokens: fc.integer({ min: 1, max: 90 }),
      abortAfter: fc.option(fc.nat(40), { nil: undefined, freq: 3 }),
      scored: fc.boolean(),
    });
    const setting = fc.record({
      pages: fc.integer({ min: 6, max: 16 }),
      S: fc.integer({ min: 1, max: 6 }),
      T: fc.integer({ min: 0, max: 200 }),
      R: fc.nat(10),
    });
    fc.assert(
      fc.property(
        setting,
        fc.array(arrival, { minLength: 1, maxLength: 12 }),
        ({ pages, S, T, R }, arrivals) => {
          const play = new Play(pages, S + T, S, S + R);
          const all = arrivals.map((a) => ({
            ...a,
            s: sequence(tokens(a.prompt, a.first), a.maxTokens, a.scored),
          }));
          let work = 0;
          for (const a of all) work += a.prompt + a.maxTokens;
          for (let time = 0, more = true; more || time <= 60; time++) {
            expect(time, "it does not end").toBeLessThan(100 + 20 * work);
            for (const a of all) {
              if (a.at === time) play.scheduler.add(a.s);
              if (a.abortAfter !== undefined && a.at + a.abortAfter === time) play.scheduler.remove(a.s);
            }
            more = play.step();
          }
          for (const a of all) {
            expect(a.s.state === "done" || a.s.arrival < 0).toBe(true);
            if (a.abortAfter === undefined && !a.scored) expect(a.s.generated).toBe(a.maxTokens);
          }
          expect(play.pool.available).toBe(pages);
        },
      ),
      { numRuns: 150 },
    );
  });
});

import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type Dims, type Executable, PAGE } from "../engine/backend.ts";
import type { SampleResult, SampleRow } from "../engine/sampler.ts";
import { Engine } from "./engine.ts";
import { Sequence } from "./sequence.ts";

const VOCAB = 97;
const turn = () => new Promise((resolve) => setImmediate(resolve));

/**
 * A model without arithmetic: its pages hold tokens, and the next token is a hash of all tokens up to here, read from
 * the pages that the step names. So a wrong page, position or row gives another text. With rows of a recurrent state the
 * hash goes on from the one that the state holds, which must be that of the pages.
 */
class HashModel implements Executable {
  readonly arenaBytes = 0;
  readonly memory: Int32Array;
  readonly width: number;
  runs = 0;
  failAt = -1;
  readonly states: Int32Array;
  #next: number[] = [];
  #busy = false;

  constructor(pages: number, width: number, states = 0) {
    this.states = new Int32Array(states).fill(-1);
    this.memory = new Int32Array(pages * PAGE).fill(-1);
    this.width = width;
  }

  async run(
    dims: Dims,
    inputs: Record<string, Int32Array>,
    rows?: readonly SampleRow[],
  ): Promise<SampleResult[]> {
    expect(this.#busy, "two runs at once").toBe(false);
    this.#busy = true;
    const { tokens, positions, segments, pages, rows: wanted } = inputs as Record<string, Int32Array>;
    expect([tokens!.length, positions!.length]).toEqual([dims.T, dims.T]);
    expect([segments!.length, pages!.length, wanted!.length]).toEqual([
      dims.S * 4,
      dims.S * this.width,
      dims.R,
    ]);
    const next: number[] = [];
    for (let s = 0; s < dims.S; s++) {
      const [start, length, past] = segments!.subarray(s * 4) as unknown as [number, number, number];
      const [from, to] = inputs.slots!.subarray(s * 2) as unknown as [number, number];
      let state = from < 0 ? 7 : this.states[from]!;
      if (this.states.length > 0) {
        expect(from < 0).toBe(past === 0);
        for (let other = 0; other < dims.S; other++)
          if (other !== s) expect(inputs.slots!.subarray(other * 2, other * 2 + 2)).not.toContain(to);
      }
      const slot = (i: number) => pages![s * this.width + Math.floor(i / PAGE)]! * PAGE + (i % PAGE);
      for (let i = 0; i < length; i++) {
        expect(positions![start + i]).toBe(past + i);
        this.memory[slot(past + i)] = tokens![start + i]!;
        let hash = 7;
        for (let j = 0; j <= past + i; j++) hash = (hash * 31 + this.memory[slot(j)]!) % 1000003;
        state = (state * 31 + tokens![start + i]!) % 1000003;
        if (this.states.length > 0) expect(state).toBe(hash);
        next[start + i] = hash % VOCAB;
      }
      if (this.states.length > 0) this.states[to] = state;
    }
    this.#next = [...wanted!].map((row) => next[row]!);
    if (this.runs++ % 3 === 0) await turn(); // a step takes time: others come and go meanwhile
    this.#busy = false;
    if (this.runs - 1 === this.failAt) throw new Error("this step failed");
    return rows ? this.sample(rows) : [];
  }

  sample(rows: readonly SampleRow[]): SampleResult[] {
    return rows.map((_, r) => ({ id: this.#next[r]!, logprob: 0 }));
  }

  read(_: string, into: Float32Array, start = 0): void {
    for (let i = 0; i < into.length; i++)
      into[i] = (start + i) % VOCAB === this.#next[Math.floor((start + i) / VOCAB)] ? 1 : 0;
  }

  bind(): void {}
  free(): void {}
}

/** What the model says after a prompt, by its definition. */
function expected(prompt: number[], n: number): number[] {
  const all = [...prompt];
  for (let i = 0; i < n; i++) all.push(all.reduce((hash, id) => (hash * 31 + id) % 1000003, 7) % VOCAB);
  return all.slice(prompt.length);
}

const row = (): SampleRow => ({
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
});

function setup(pages: number, maxima: Dims, ctx = pages * PAGE, states = 0) {
  const width = Math.ceil(ctx / PAGE);
  const executable = new HashModel(pages, width, states);
  const engine = new Engine({
    ...{ executable, maxima, ctx, vocab_size: VOCAB, pages, pagesPerSequence: width },
    ...(states > 0 && { states: { rows: states } }),
  });
  return { engine, executable };
}

interface Job {
  sequence: Sequence;
  ids: number[];
  logits: number[];
  ended: { reason: string; error?: unknown } | undefined;
  done: Promise<void>;
}

function job(
  prompt: number[],
  maxTokens: number,
  more: { scored?: boolean; eos?: number; onToken?: () => void } = {},
): Job {
  let resolve = () => {};
  const result = {
    ids: [],
    logits: [],
    ended: undefined,
    done: new Promise<void>((r) => (resolve = r)),
  } as unknown as Job;
  result.sequence = new Sequence(prompt, {
    maxTokens,
    ...(!more.scored && { sample: row() }),
    ...(more.eos !== undefined && { eos: new Set([more.eos]) }),
    sink: {
      token(id) {
        expect(result.ended, "a token after the end").toBeUndefined();
        result.ids.push(id);
        more.onToken?.();
        return false;
      },
      logits(from, rows) {
        expect(result.logits.length).toBeGreaterThanOrEqual(from);
        result.logits.length = from; // computed again after it had to wait
        for (let i = 0; i < rows.length; i += VOCAB)
          result.logits.push(rows.subarray(i, i + VOCAB).indexOf(1));
      },
      end(reason, error) {
        expect(result.ended, "a second end").toBeUndefined();
        result.ended = { reason, error };
        resolve();
      },
    },
  });
  return result;
}

const ids = (n: number, seed: number) => Array.from({ length: n }, (_, i) => (i * 5 + seed * 11) % VOCAB);

describe("Engine", () => {
  it("gives each its own text, logits to those that ask, whatever comes, goes and runs out", async () => {
    const request = fc.record({
      at: fc.nat(12),
      prompt: fc.integer({ min: 1, max: 150 }),
      seed: fc.nat(2),
      maxTokens: fc.integer({ min: 1, max: 70 }),
      scored: fc.boolean(),
      abortAt: fc.option(fc.nat(25), { nil: undefined }),
    });
    const setting = fc.record({
      pages: fc.integer({ min: 4, max: 9 }),
      S: fc.integer({ min: 1, max: 5 }),
      T: fc.nat(80),
      R: fc.nat(6),
      failAt: fc.option(fc.nat(30), { nil: -1 }),
      spare: fc.option(fc.integer({ min: 1, max: 6 }), { nil: undefined }),
    });
    await fc.assert(
      fc.asyncProperty(
        setting,
        fc.array(request, { minLength: 1, maxLength: 9 }),
        async ({ pages, S, T, R, failAt, spare }, requests) => {
          const rows = spare === undefined ? 0 : 2 * S + spare;
          const { engine, executable } = setup(pages, { T: S + T, S, R: S + R }, undefined, rows);
          executable.failAt = failAt;
          const jobs = requests.map((r) => ({
            ...r,
            prompt: ids(r.prompt, r.seed),
            job: job(ids(r.prompt, r.seed), r.maxTokens, r),
          }));
          for (let time = 0; time <= 25; time++) {
            for (const { at, abortAt, job } of jobs) {
              if (at === time) engine.add(job.sequence);
              if (abortAt !== undefined && abortAt >= at && abortAt === time) engine.end(job.sequence);
            }
            await turn();
          }
          await Promise.all(jobs.map(({ job }) => job.done));
          for (const { job, prompt, maxTokens, scored } of jobs) {
            const { reason, error } = job.ended!;
            if (error !== undefined) expect((error as Error).message).toBe("this step failed");
            const whole = reason === "length";
            if (scored) {
              const want = prompt.map((_, i) => expected(prompt.slice(0, i + 1), 1)[0]!);
              expect(job.logits).toEqual(whole ? want : want.slice(0, job.logits.length));
            } else {
              const want = expected(prompt, maxTokens);
              expect(job.ids).toEqual(whole ? want : want.slice(0, job.ids.length));
            }
          }
          await turn();
          const { pool, size } = engine.scheduler;
          expect([pool.available, size]).toEqual([pages, 0]);
          for (let i = 0; i < rows; i++) pool.states!.take();
          expect(() => pool.states?.take() ?? pool.release(0)).toThrow(RangeError);
          await engine.close();
        },
      ),
      { numRuns: 100 },
    );
  });

  it("goes on from where a recurrent state was kept: behind a prompt, where two part, and in an answer", async () => {
    const { engine } = setup(32, { T: 512, S: 4, R: 4 }, undefined, 12);
    const cached = async (prompt: number[], n: number) => {
      const one = job(prompt, n);
      engine.add(one.sequence);
      await one.done;
      expect(one.ids).toEqual(expected(prompt, n));
      return one.sequence.cached;
    };
    const begin = ids(3 * PAGE, 1);
    const first = [...begin, ...ids(40, 2)];
    expect(await cached(first, 3)).toBe(0);
    expect(await cached(first, 3), "the same again").toBe(3 * PAGE);
    const longer = [...first, ...expected(first, 3), ...ids(90, 3)];
    expect(await cached(longer, 2 * PAGE), "a longer one").toBe(3 * PAGE);
    const next = [...longer, ...expected(longer, 2 * PAGE), ...ids(5, 4)];
    expect(await cached(next, 1), "the next turn").toBe(7 * PAGE);
    const other = [...begin.slice(0, 2 * PAGE), ...ids(100, 5)];
    expect(await cached(other, 1), "no state is where it parts").toBe(0);
    expect(await cached([...begin.slice(0, 2 * PAGE), ...ids(80, 6)], 1), "now there is one").toBe(2 * PAGE);
  });

  it("ends at an end token, which is given too", async () => {
    const { engine } = setup(4, { T: 8, S: 2, R: 2 });
    const text = expected([3], 9);
    const a = job([3], 50, { eos: text[6]! });
    engine.add(a.sequence);
    await a.done;
    expect(a.ids).toEqual(text.slice(0, text.indexOf(text[6]!) + 1));
    expect(a.ended!.reason).toBe("stop");
  });

  it("ends where the context does", async () => {
    const { engine } = setup(4, { T: 64, S: 2, R: 2 }, 100);
    const a = job(ids(90, 1), 1000);
    engine.add(a.sequence);
    await a.done;
    expect([a.ids.length, a.ended!.reason]).toEqual([10, "length"]);
    expect(() => engine.add(job(ids(100, 1), 1).sequence)).toThrow(
      /100 tokens, but a context of 100 has room for 99/,
    );
  });

  it("survives a failing sink, and one that starts another sequence", async () => {
    const { engine } = setup(8, { T: 64, S: 4, R: 4 });
    const later = job([9], 3);
    const bad = job([1], 5, {
      onToken: () => {
        throw new Error("my sink");
      },
    });
    const starts = job([2], 5, {
      onToken: () => {
        if (later.sequence.arrival < 0) engine.add(later.sequence);
      },
    });
    engine.add(bad.sequence);
    engine.add(starts.sequence);
    await Promise.all([bad.done, starts.done, later.done]);
    expect((bad.ended!.error as Error).message).toBe("my sink");
    expect(starts.ids).toEqual(expected([2], 5));
    expect(later.ids).toEqual(expected([9], 3));
  });

  it("starts again after it has been idle, and stops for good when closed", async () => {
    const { engine } = setup(4, { T: 8, S: 2, R: 2 });
    for (let i = 0; i < 3; i++) {
      const a = job([i], 2);
      engine.add(a.sequence);
      await a.done; // continues in the same turn in which the loop ends
    }
    const a = job([5], 1000);
    engine.add(a.sequence);
    await turn();
    await engine.close();
    expect((a.ended!.error as Error).message).toMatch(/the model was closed/);
    expect(engine.scheduler.pool.available).toBe(4);
    expect(() => engine.add(job([1], 1).sequence)).toThrow(/is closed/);
  });

  it("leaves the event loop turns while it computes on this thread", async () => {
    const { engine, executable } = setup(64, { T: 8, S: 2, R: 2 });
    executable.runs = 1; // no turn of its own ...
    Object.defineProperty(executable, "runs", { get: () => 1, set() {} });
    const a = job([1], 2000);
    engine.add(a.sequence);
    let turns = 0;
    while (!a.ended) {
      await turn();
      turns++;
    }
    expect(turns).toBeGreaterThan(3);
  });
});

// Attempts on their way, many at once, decided in their order and made durable.

import { uncheckedKeywords } from "../evaluate/schema.ts";
import type { EndpointUsage } from "../remote/index.ts";
import type { Reason } from "./synthesize-answers.ts";
import type { Attempts, Candidate } from "./synthesize-attempts.ts";
import type { SampleFile, SynthesizeState } from "./synthesize-file.ts";
import type { Plan } from "./synthesize-plan.ts";
import type { Writer } from "./synthesize-writer.ts";

export interface SynthesizeEvent {
  readonly accepted: number;
  readonly count: number;
  /** Decided, in this run and those before it. */
  readonly attempts: number;
  /** How many gave no sample, by reason. */
  readonly rejected: { readonly [reason in Reason]?: number };
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
  /** At the prices given. */
  readonly cost?: number;
  /** Of all runs together. */
  readonly seconds: number;
  /** Accepted in this run, a second. */
  readonly samples_per_second: number;
  /** Seconds left at this rate. */
  readonly eta: number;
}

export interface SynthesizeResult extends SynthesizeEvent {
  readonly out: string;
  /** "attempts": there are fewer samples than wanted. */
  readonly stopped: "count" | "attempts";
  /** What each endpoint did, or the model here ("here"). */
  readonly endpoints: readonly EndpointUsage[];
  /** Keywords of the schema that were not checked in answers of endpoints. */
  readonly unchecked_keywords: readonly string[];
}

/** Candidates on their way, decided in their order. */
export class Run {
  readonly #writer: Writer;
  readonly #attempts: Attempts;
  readonly #plan: Plan;
  readonly #file: SampleFile;
  readonly #report: (event: SynthesizeEvent) => void;
  readonly #settings: SynthesizeState["settings"];
  readonly #before: SynthesizeState;
  readonly #rejected: { [reason in Reason]?: number };
  readonly #started = performance.now();
  #accepted: number;
  #decided: number;

  constructor(
    writer: Writer,
    attempts: Attempts,
    plan: Plan,
    file: SampleFile,
    state: SynthesizeState,
    report: (event: SynthesizeEvent) => void,
  ) {
    this.#writer = writer;
    this.#attempts = attempts;
    this.#plan = plan;
    this.#file = file;
    this.#report = report;
    this.#settings = state.settings;
    this.#before = state;
    this.#rejected = { ...state.rejected };
    this.#accepted = state.accepted;
    this.#decided = state.attempts;
  }

  async go(signal: AbortSignal): Promise<SynthesizeResult> {
    const { count, out, schema } = this.#plan;
    const maxAttempts = Math.min(this.#plan.maxAttempts, this.#attempts.different);
    const running: { readonly made: Promise<Candidate | Reason>; done: boolean }[] = [];
    let next = this.#decided;
    let saved = performance.now();
    while (this.#accepted < count) {
      for (const most = this.#window(); running.length < most && next < maxAttempts; next++) {
        const item = { made: this.#attempts.make(next, signal), done: false };
        const end = () => {
          item.done = true;
        };
        item.made.then(end, end); // handled: one that fails behind the first is heard of when its turn comes
        running.push(item);
      }
      if (running.length === 0) break;
      const lines: object[] = [];
      let failure: { readonly error: unknown } | undefined;
      // The first, and those behind it that are ready.
      do {
        try {
          const line = this.#decide(await running[0]!.made);
          if (line) lines.push(line);
        } catch (error) {
          failure = { error };
          break;
        }
        running.shift();
      } while (running[0]?.done && this.#accepted < count);
      if (lines.length > 0 || failure || performance.now() - saved > 1000) {
        await this.#file.commit(lines, this.#state());
        saved = performance.now();
        this.#report(this.#event());
      }
      if (failure) throw failure.error;
    }
    await this.#file.commit([], this.#state());
    const unchecked = schema === undefined ? [] : [...uncheckedKeywords(schema)].sort();
    return {
      ...this.#event(),
      out,
      stopped: this.#accepted < count ? "attempts" : "count",
      endpoints: this.#usage(),
      unchecked_keywords: unchecked,
    };
  }

  /** How many to have on their way: enough to keep the teacher busy, not many more than are wanted still. */
  #window(): number {
    const share = (this.#accepted + 1) / (this.#decided + 1);
    return Math.min(2 * this.#writer.slots, Math.ceil((this.#plan.count - this.#accepted) / share));
  }

  /** The line of an accepted candidate. */
  #decide(candidate: Candidate | Reason): object | undefined {
    const reason = typeof candidate === "string" ? candidate : this.#refusal(candidate);
    this.#decided++;
    if (reason !== undefined) {
      this.#rejected[reason] = (this.#rejected[reason] ?? 0) + 1;
      return undefined;
    }
    this.#accepted++;
    this.#attempts.accept(this.#attempts.compared(candidate as Candidate)!);
    return (candidate as Candidate).line;
  }

  /** Duplicates first: whether a candidate was answered at all may depend on when it was made. */
  #refusal(candidate: Candidate): Reason | undefined {
    const compared = this.#attempts.compared(candidate);
    if (compared !== undefined && this.#attempts.isDuplicate(compared)) return "duplicate";
    return typeof candidate.answer === "string" ? candidate.answer : undefined;
  }

  #state() {
    return {
      settings: this.#settings,
      attempts: this.#decided,
      accepted: this.#accepted,
      rejected: this.#rejected,
      usage: this.#usage(),
      seconds: this.#seconds(),
    };
  }

  #seconds(): number {
    return this.#before.seconds + (performance.now() - this.#started) / 1000;
  }

  /** Of this run and those before it. */
  #usage(): EndpointUsage[] {
    const all = new Map<string, EndpointUsage>();
    for (const one of [...this.#before.usage, ...this.#writer.usage]) {
      const sum = all.get(one.host);
      all.set(one.host, {
        host: one.host,
        answered: one.answered + (sum?.answered ?? 0),
        failed: one.failed + (sum?.failed ?? 0),
        prompt_tokens: one.prompt_tokens + (sum?.prompt_tokens ?? 0),
        completion_tokens: one.completion_tokens + (sum?.completion_tokens ?? 0),
      });
    }
    return [...all.values()];
  }

  #event(): SynthesizeEvent {
    const { count, price } = this.#plan;
    const usage = this.#usage();
    const prompt_tokens = usage.reduce((sum, one) => sum + one.prompt_tokens, 0);
    const completion_tokens = usage.reduce((sum, one) => sum + one.completion_tokens, 0);
    const seconds = (performance.now() - this.#started) / 1000;
    const rate = (this.#accepted - this.#before.accepted) / Math.max(seconds, 1e-3);
    return {
      accepted: this.#accepted,
      count,
      attempts: this.#decided,
      rejected: { ...this.#rejected },
      prompt_tokens,
      completion_tokens,
      ...(price && {
        cost: (prompt_tokens * (price.prompt ?? 0) + completion_tokens * (price.completion ?? 0)) / 1e6,
      }),
      seconds: this.#seconds(),
      samples_per_second: rate,
      eta: rate > 0 ? Math.max(0, count - this.#accepted) / rate : Infinity,
    };
  }
}

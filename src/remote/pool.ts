// Many endpoints that serve the same model, as one: requests wait in a queue, each URL takes so many at once, one that
// fails is rested and tried again later while the others take its work. Knows no protocol but JSON over HTTP.

import type { Json } from "../formats/json.ts";
import { checkHosts, parseEndpoints } from "./hosts.ts";
import { Misconfigured, Passing, send } from "./request.ts";

export interface EndpointOptions {
  /** The name of the model, as the endpoints know it. Default: the one that they serve, where it is one. */
  readonly model?: string;
  /** Sent as `Authorization: Bearer`. Default: the environment variable PITH_API_KEY. */
  readonly key?: string;
  /** Hosts (with a port or without) other than this machine's own that may be talked to. */
  readonly allowHosts?: readonly string[];
  /** Requests at once, of each URL. Default 8. */
  readonly concurrency?: number;
  /** Longest wait for a whole answer, at most 300,000 ms: fetch waits no longer for a first byte. Default 240,000. */
  readonly timeoutMs?: number;
  /** Answers to a request that may fail before it is given up; being busy or away does not count. Default 5. */
  readonly tries?: number;
  /** First rest of a URL that failed; doubled by each failure after it, up to 30 s, and up to half of it less. Default 500. */
  readonly backoffMs?: number;
  /** It is given up when no URL has answered anything for so long. Default 300,000. */
  readonly patienceMs?: number;
  /** Told when a URL that was well fails, and is rested. */
  readonly onRest?: (rest: { readonly host: string; readonly message: string }) => void;
}

/** What an endpoint has done so far. */
export interface EndpointUsage {
  readonly host: string;
  readonly answered: number;
  readonly failed: number;
  readonly prompt_tokens: number;
  readonly completion_tokens: number;
}

const MAX_REST_MS = 30_000;
/** Longest rest that a server may ask for. */
const MAX_ASKED_MS = 300_000;

interface State {
  readonly url: URL;
  active: number;
  /** Failures since the last answer. Above 0 one request at a time tries whether it is back. */
  failures: number;
  restUntil: number;
  usage: { answered: number; failed: number; prompt_tokens: number; completion_tokens: number };
}

interface Job {
  readonly path: string;
  readonly body: string | undefined;
  readonly signal: AbortSignal | undefined;
  /** Ends its request. */
  readonly stop: AbortController;
  /** Throws what is wrong with an answer. */
  readonly read: (answer: Json, url: URL) => unknown;
  resolve(value: unknown): void;
  reject(error: unknown): void;
  failed: number;
  last: State | undefined;
}

export class EndpointPool {
  readonly urls: readonly URL[];
  readonly #states: readonly State[];
  readonly #queue: Job[] = [];
  readonly #key: string | undefined;
  readonly #settings: {
    concurrency: number;
    timeoutMs: number;
    tries: number;
    backoffMs: number;
    patienceMs: number;
  };
  readonly #onRest: EndpointOptions["onRest"];
  readonly #running = new Set<Job>();
  #closed: Error | undefined;
  #timer: NodeJS.Timeout | undefined;
  /** Since when nothing was answered. */
  #silentSince: number | undefined;

  /**
   * Opens no connection yet.
   * @throws {TypeError | RangeError | Error} for URLs and settings that cannot be, hosts that are not allowed, offline
   */
  constructor(urls: string | readonly string[], options: EndpointOptions = {}, env = process.env) {
    this.urls = parseEndpoints(urls);
    checkHosts(this.urls, options.allowHosts, env);
    const key = (options.key ?? env.PITH_API_KEY ?? "").trim();
    // Not shown: it is a secret, whatever is wrong with it.
    if (/[^\x21-\x7e]/.test(key))
      throw new TypeError(
        "Cannot use the key of the endpoint: it has characters that no HTTP header may have",
      );
    this.#key = key || undefined;
    const {
      concurrency = 8,
      timeoutMs = 240_000,
      tries = 5,
      backoffMs = 500,
      patienceMs = 300_000,
    } = options;
    const ranges: [string, number, number, number][] = [
      ["concurrency", concurrency, 1, 1024],
      ["timeoutMs", timeoutMs, 1, 300_000],
      ["tries", tries, 1, 1000],
      ["backoffMs", backoffMs, 1, MAX_REST_MS],
      ["patienceMs", patienceMs, 0, 2 ** 31],
    ];
    for (const [name, value, min, max] of ranges)
      if (!(Number.isInteger(value) && value >= min && value <= max))
        throw new RangeError(
          `Cannot use endpoints with ${name} ${value}: wanted a whole number from ${min} to ${max}`,
        );
    this.#onRest = options.onRest;
    this.#settings = { concurrency, timeoutMs, tries, backoffMs, patienceMs };
    this.#states = this.urls.map((url) => ({
      url,
      active: 0,
      failures: 0,
      restUntil: 0,
      usage: { answered: 0, failed: 0, prompt_tokens: 0, completion_tokens: 0 },
    }));
  }

  /** Requests that may be under way at once. */
  get slots(): number {
    return this.#settings.concurrency * this.#states.length;
  }

  get usage(): EndpointUsage[] {
    return this.#states.map(({ url, usage }) => ({ host: url.host, ...usage }));
  }

  /**
   * What `read` makes of an answer to a request, by whichever endpoint gives one that it takes. It settles once, whatever
   * becomes of the endpoints meanwhile.
   * @param body absent: a GET
   * @param read what it throws counts as a failure of the endpoint, and another try is made
   */
  request<T>(
    path: string,
    body: object | undefined,
    read: (answer: Json, url: URL) => T,
    signal?: AbortSignal,
  ): Promise<T> {
    return new Promise<T>((resolve, reject) => {
      if (this.#closed) throw this.#closed;
      signal?.throwIfAborted();
      const text = body && JSON.stringify(body);
      const onAbort = () => {
        const at = this.#queue.indexOf(job);
        if (at >= 0) this.#queue.splice(at, 1);
        job.stop.abort(signal!.reason);
        job.reject(signal!.reason);
      };
      const done = () => signal?.removeEventListener("abort", onAbort);
      const job: Job = {
        path,
        body: text,
        signal,
        stop: new AbortController(),
        read,
        resolve: (value) => {
          done();
          resolve(value as T);
        },
        reject: (error) => {
          done();
          reject(error);
        },
        failed: 0,
        last: undefined,
      };
      signal?.addEventListener("abort", onAbort, { once: true });
      this.#queue.push(job);
      this.#next();
    });
  }

  /** Ends what runs and waits, with an error. */
  close(): void {
    this.#closed ??= new Error("Cannot ask the endpoints: they were closed");
    clearTimeout(this.#timer);
    for (const job of this.#queue.splice(0)) job.reject(this.#closed);
    for (const job of this.#running) job.stop.abort(this.#closed);
  }

  /** Gives waiting requests to endpoints that can take one; else comes back when the next rest is over. */
  #next(): void {
    clearTimeout(this.#timer);
    const now = performance.now();
    for (let i = 0; i < this.#queue.length; ) {
      const job = this.#queue[i]!;
      const state = this.#choose(job, now);
      if (!state) {
        if (!this.#states.some((other) => this.#isFree(other, now))) break;
        i++; // its own endpoint alone is free, and another one will be
        continue;
      }
      this.#queue.splice(i, 1);
      void this.#run(job, state);
    }
    if (this.#queue.length === 0) return;
    const rests = this.#states.map(({ restUntil }) => restUntil).filter((until) => until > now);
    if (rests.length > 0)
      this.#timer = setTimeout(() => this.#next(), Math.max(1, Math.ceil(Math.min(...rests) - now)));
  }

  #isFree({ active, failures, restUntil }: State, now: number): boolean {
    return restUntil <= now && active < (failures > 0 ? 1 : this.#settings.concurrency);
  }

  /** The least busy endpoint; not the one where the request failed last, while another is at work. */
  #choose({ last }: Job, now: number): State | undefined {
    const others = this.#states.some((state) => state !== last && state.failures === 0);
    let best: State | undefined;
    for (const state of this.#states)
      if (this.#isFree(state, now) && !(state === last && others) && !(best && best.active <= state.active))
        best = state;
    return best;
  }

  async #run(job: Job, state: State): Promise<void> {
    const { path, body, stop } = job;
    state.active++;
    this.#running.add(job);
    try {
      const answer = await send({
        method: body === undefined ? "GET" : "POST",
        url: new URL(path, state.url),
        ...(body !== undefined && { body }),
        key: this.#key,
        timeoutMs: this.#settings.timeoutMs,
        signal: stop.signal,
      });
      const value = job.read(answer, state.url);
      state.failures = 0;
      state.usage.answered++;
      this.#silentSince = undefined;
      this.#count(state, answer);
      job.resolve(value);
    } catch (error) {
      if (stop.signal.aborted) job.reject(stop.signal.reason);
      else {
        // A URL that never answered is wrong; one that has answered may be starting again.
        const passing =
          error instanceof Passing || (error instanceof Misconfigured && state.usage.answered > 0);
        state.usage.failed++;
        if (!passing) job.reject(error);
        else {
          this.#rest(state, error);
          const busy = error instanceof Misconfigured || error.busy;
          if (!busy) job.failed++;
          job.last = state;
          const failure = this.#hopeless(job, error);
          if (failure) job.reject(failure);
          else this.#queue.unshift(job);
        }
      }
    } finally {
      state.active--;
      this.#running.delete(job);
      if (!this.#closed) this.#next();
    }
  }

  /** Rests an endpoint: once for all requests that fail with it, and for as long as it asked to. */
  #rest(state: State, error: Passing | Misconfigured): void {
    const now = performance.now();
    this.#silentSince ??= now;
    if (state.restUntil <= now) {
      const rest = Math.min(MAX_REST_MS, this.#settings.backoffMs * 2 ** Math.min(20, state.failures));
      state.restUntil = now + rest * (0.5 + Math.random() / 2);
      if (state.failures++ === 0) this.#onRest?.({ host: state.url.host, message: error.message });
    }
    const waitMs = error instanceof Passing ? error.waitMs : undefined;
    if (waitMs !== undefined)
      state.restUntil = Math.max(state.restUntil, now + Math.min(waitMs, MAX_ASKED_MS));
  }

  /** Why a request is not tried again, if it is not. */
  #hopeless(job: Job, error: Error): Error | undefined {
    const { tries, patienceMs } = this.#settings;
    if (job.failed >= tries) return new Error(`${error.message} (${tries} tries)`, { cause: error });
    const silent = performance.now() - (this.#silentSince ?? Infinity);
    if (silent > patienceMs)
      return new Error(`${error.message} (no endpoint has answered for ${Math.round(silent / 1000)} s)`, {
        cause: error,
      });
    return undefined;
  }

  #count(state: State, answer: Json): void {
    const { usage } = (answer ?? {}) as { usage?: { [name: string]: unknown } };
    for (const name of ["prompt_tokens", "completion_tokens"] as const) {
      const found = usage?.[name];
      if (Number.isSafeInteger(found) && (found as number) > 0) state.usage[name] += found as number;
    }
  }
}

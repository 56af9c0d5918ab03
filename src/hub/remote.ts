// The hub over HTTP: what files a revision has, and the bytes of one from an offset on. Retries, redirects and refusals
// are here; nothing is written. Protocol: huggingface.co/docs/hub/api, and what its servers answer.

import { readFile } from "node:fs/promises";
import { join } from "node:path";
import { setTimeout as sleep } from "node:timers/promises";
import { hubHome } from "./cache.ts";
import type { HubName } from "./name.ts";
import { isOffline } from "./offline.ts";
import { retryAfter } from "./retry-after.ts";

export interface HubOptions {
  /** Default: HF_ENDPOINT, else https://huggingface.co */
  readonly endpoint?: string;
  /** Default: HF_TOKEN, else the file that `hf auth login` writes; sent to the endpoint's host alone. */
  readonly token?: string;
  /** Longest silence of a server in milliseconds before the connection is tried anew. Default 30,000. */
  readonly stallMs?: number;
  /** Tries without a byte of progress before it is given up. Default 6. */
  readonly tries?: number;
  /** Wait before the second try in milliseconds; doubled for each after. Default 500. */
  readonly backoffMs?: number;
}

/** A file of a revision as the hub states it. */
export interface RemoteFile {
  readonly path: string;
  readonly bytes: number;
  /** What its content is called in the cache, and must hash to. */
  readonly digest: { readonly kind: "sha256" | "git-sha1"; readonly hex: string };
}

export interface Revision {
  readonly commit: string;
  readonly files: readonly RemoteFile[];
}

/** An error that another try may mend. */
export class Passing extends Error {
  /** Milliseconds that the server asked to wait. */
  readonly waitMs: number | undefined;
  constructor(message: string, options?: ErrorOptions & { waitMs?: number }) {
    super(message, options);
    this.waitMs = options?.waitMs;
  }
}

/** Listings beyond this are no model's. */
const MAX_LISTING_BYTES = 64 * 2 ** 20;
const MAX_FILES = 100_000;
const MAX_REDIRECTS = 5;
/** Longest wait that a server may ask for. */
const MAX_WAIT_MS = 60_000;

export class Hub {
  readonly endpoint: URL;
  readonly #token: () => Promise<string | undefined>;
  readonly #stallMs: number;
  readonly tries: number;
  readonly backoffMs: number;

  constructor(options: HubOptions = {}, env: NodeJS.ProcessEnv = process.env) {
    const endpoint = options.endpoint ?? (env.HF_ENDPOINT || "https://huggingface.co");
    if (isOffline() || /^(1|true|yes|on)$/i.test(env.HF_HUB_OFFLINE ?? ""))
      throw new Error(
        `Cannot reach the hub: ${isOffline() ? "--offline" : "HF_HUB_OFFLINE"} is set, so nothing is downloaded`,
      );
    if (!URL.canParse(endpoint) || !/^https?:$/.test(new URL(endpoint).protocol))
      throw new TypeError(
        `Cannot reach the hub: found the endpoint ${JSON.stringify(endpoint)}, wanted a URL with https`,
      );
    this.endpoint = new URL(endpoint.endsWith("/") ? endpoint : `${endpoint}/`);
    this.#token = async () => options.token ?? (await tokenOf(env));
    this.#stallMs = options.stallMs ?? 30_000;
    this.tries = options.tries ?? 6;
    this.backoffMs = options.backoffMs ?? 500;
  }

  /** The files of a revision with sizes and digests. */
  async revision({ repo, revision }: HubName, signal?: AbortSignal): Promise<Revision> {
    const url = new URL(
      `api/models/${repo}/revision/${encodeURIComponent(revision)}?blobs=true`,
      this.endpoint,
    );
    const what = `list the files of ${JSON.stringify(revision === "main" ? repo : `${repo}@${revision}`)}`;
    return this.insist(signal, async () => {
      const text = await this.#text(url, what, signal);
      let answer: unknown;
      try {
        answer = JSON.parse(text);
      } catch {
        throw new Passing(
          `Cannot ${what}: the hub's answer is no JSON: ${JSON.stringify(text.slice(0, 60))}`,
        );
      }
      return readRevision(answer, what);
    });
  }

  /**
   * The bytes of a file from `offset` on, and whether the server began there (it may begin at 0 instead). One try.
   * @throws {Passing} when another try may do better
   */
  async open(
    { repo }: HubName,
    commit: string,
    file: RemoteFile,
    offset: number,
    signal?: AbortSignal,
  ): Promise<{ readonly start: number; readonly bytes: AsyncIterable<Uint8Array> }> {
    const path = file.path.split("/").map(encodeURIComponent).join("/");
    const url = new URL(`${repo}/resolve/${commit}/${path}`, this.endpoint);
    const what = `download ${JSON.stringify(file.path)} of ${repo}`;
    const { response, pulse } = await this.#get(
      url,
      what,
      signal,
      offset > 0 ? { range: `bytes=${offset}-` } : {},
    );
    const start = response.status === 206 ? rangeStart(response.headers.get("content-range"), what) : 0;
    if (start > offset) {
      await response.body?.cancel();
      throw new Passing(`Cannot ${what}: the server began at byte ${start}, wanted ${offset}`);
    }
    return { start, bytes: pieces(response, what, pulse) };
  }

  /** Runs `work` until it is done; failures that may pass are tried again after a wait, unless `progress` was made. */
  async insist<T>(
    signal: AbortSignal | undefined,
    work: () => Promise<T>,
    progress: () => number = () => 0,
  ): Promise<T> {
    let before = progress();
    for (let failed = 0; ; ) {
      try {
        return await work();
      } catch (error) {
        signal?.throwIfAborted();
        if (!(error instanceof Passing)) throw error;
        const now = progress();
        failed = now > before ? 1 : failed + 1;
        before = now;
        if (failed >= this.tries)
          throw new Error(`${error.message} (${this.tries} tries)`, { cause: error.cause ?? error });
        const wait = Math.max(this.backoffMs * 2 ** (failed - 1), error.waitMs ?? 0);
        await sleep(Math.min(wait, MAX_WAIT_MS), undefined, { ...(signal && { signal }) });
      }
    }
  }

  async #text(url: URL, what: string, signal?: AbortSignal): Promise<string> {
    const { response, pulse } = await this.#get(url, what, signal, {});
    const parts: Uint8Array[] = [];
    let bytes = 0;
    for await (const piece of pieces(response, what, pulse)) {
      bytes += piece.length;
      if (bytes > MAX_LISTING_BYTES)
        throw new RangeError(`Cannot ${what}: the hub's answer is over ${MAX_LISTING_BYTES} bytes`);
      parts.push(piece);
    }
    return Buffer.concat(parts).toString("utf8");
  }

  /** A response of status 200 or 206, redirects followed: to https, or within the endpoint's own host. */
  async #get(from: URL, what: string, signal: AbortSignal | undefined, headers: Record<string, string>) {
    const token = await this.#token();
    let url = from;
    for (let hops = 0; hops <= MAX_REDIRECTS; hops++) {
      const pulse = new Pulse(this.#stallMs, signal);
      const own = url.host === this.endpoint.host && url.protocol === this.endpoint.protocol;
      let response: Response;
      try {
        response = await fetch(url.href, {
          redirect: "manual",
          signal: pulse.signal,
          headers: {
            "user-agent": "pith",
            // Offsets count bytes of the file, not of a compressed form of it.
            "accept-encoding": "identity",
            ...headers,
            ...(own && token && { authorization: `Bearer ${token}` }),
          },
        });
      } catch (cause) {
        pulse.stop();
        signal?.throwIfAborted();
        throw connectionError(what, url, cause, pulse);
      }
      pulse.beat();
      if (response.status === 200 || response.status === 206) return { response, pulse };
      pulse.stop();
      const location = response.headers.get("location");
      await response.body?.cancel().catch(() => {});
      if (response.status < 300 || response.status >= 400 || !location) throw refusal(what, response, token);
      url = this.#redirected(what, url, location);
    }
    throw new Error(`Cannot ${what}: found more than ${MAX_REDIRECTS} redirects`);
  }

  #redirected(what: string, from: URL, location: string): URL {
    if (!URL.canParse(location, from.href))
      throw new Error(`Cannot ${what}: redirected to ${JSON.stringify(location)}, wanted a URL`);
    const to = new URL(location, from);
    const sameHost = to.host === this.endpoint.host && to.protocol === this.endpoint.protocol;
    if (to.username || to.password || (!sameHost && (to.protocol !== "https:" || isInside(to.hostname))))
      throw new Error(
        `Cannot ${what}: redirected to ${JSON.stringify(to.origin === "null" ? to.protocol : to.origin)}, wanted https at a public host`,
      );
    return to;
  }
}

/** Addresses of this machine and of networks inside, as they are written in URLs. */
function isInside(hostname: string): boolean {
  if (/^(localhost|.*\.localhost|.*\.local|.*\.internal)\.?$/i.test(hostname)) return true;
  if (hostname.startsWith("[")) return true; // no hub serves from a bare IPv6 address
  return /^(0|10|127|169\.254|172\.(1[6-9]|2\d|3[01])|192\.168|100\.(6[4-9]|[7-9]\d|1[01]\d|12[0-7]))\./.test(
    hostname,
  );
}

async function tokenOf(env: NodeJS.ProcessEnv): Promise<string | undefined> {
  const named = env.HF_TOKEN || env.HUGGING_FACE_HUB_TOKEN;
  if (named) return named.trim();
  const file = env.HF_TOKEN_PATH || join(hubHome(env), "token");
  return (await readFile(file, "utf8").catch(() => "")).trim() || undefined;
}

/** Aborts when no byte came for too long, or when the caller's signal does. */
class Pulse {
  readonly #controller = new AbortController();
  readonly #ms: number;
  readonly #outer: AbortSignal | undefined;
  readonly #onAbort = () => this.#controller.abort(this.#outer!.reason);
  #timer: NodeJS.Timeout | undefined;
  stalled = false;

  constructor(ms: number, outer: AbortSignal | undefined) {
    outer?.throwIfAborted();
    this.#ms = ms;
    this.#outer = outer;
    outer?.addEventListener("abort", this.#onAbort, { once: true });
    this.beat();
  }

  get signal(): AbortSignal {
    return this.#controller.signal;
  }

  get ms(): number {
    return this.#ms;
  }

  beat(): void {
    clearTimeout(this.#timer);
    this.#timer = setTimeout(() => {
      this.stalled = true;
      this.#controller.abort(new Error("stalled"));
    }, this.#ms);
  }

  stop(): void {
    clearTimeout(this.#timer);
    this.#outer?.removeEventListener("abort", this.#onAbort);
  }
}

async function* pieces(
  response: Response,
  what: string,
  pulse: Pulse,
): AsyncGenerator<Uint8Array, void, undefined> {
  try {
    if (!response.body) return;
    for await (const piece of response.body as unknown as AsyncIterable<Uint8Array>) {
      pulse.beat();
      yield piece;
    }
  } catch (cause) {
    if (pulse.signal.aborted && !pulse.stalled) throw pulse.signal.reason;
    throw connectionError(what, new URL(response.url), cause, pulse);
  } finally {
    pulse.stop();
  }
}

function connectionError(what: string, url: URL, cause: unknown, pulse: Pulse): Error {
  const inner = cause instanceof Error && cause.cause instanceof Error ? cause.cause : (cause as Error);
  if ((inner as NodeJS.ErrnoException).code === "ERR_OFFLINE")
    return new Error(`Cannot ${what}: ${inner.message}`);
  const reason = pulse.stalled ? `no byte came for ${pulse.ms} ms` : inner.message || String(inner);
  return new Passing(`Cannot ${what}: the connection to ${url.host} failed: ${reason}`, { cause });
}

function refusal(what: string, response: Response, token: string | undefined): Error {
  const { status } = response;
  const found = `the hub answered ${status}${response.statusText ? ` ${response.statusText}` : ""}`;
  if (status === 401 || status === 403) {
    const hint = token
      ? "the token in HF_TOKEN has no access; a gated model must be asked for on its page first"
      : "the model is private, gated or does not exist: set HF_TOKEN to a token that may read it";
    return new Error(`Cannot ${what}: ${found}; ${hint}`);
  }
  if (status === 404) return new Error(`Cannot ${what}: ${found}: no such model, revision or file`);
  if (status === 408 || status === 416 || status === 429 || status >= 500) {
    const waitMs = retryAfter(response.headers.get("retry-after"));
    return status === 416
      ? new Unsatisfied(`Cannot ${what}: ${found}`)
      : new Passing(`Cannot ${what}: ${found}`, waitMs === undefined ? {} : { waitMs });
  }
  return new Error(`Cannot ${what}: ${found}, wanted 200`);
}

/** The server has no byte at the offset that was asked for: what is here is longer than the file, or wrong. */
export class Unsatisfied extends Passing {}

function rangeStart(header: string | null, what: string): number {
  const match = /^bytes (\d+)-\d+\/(?:\d+|\*)$/.exec(header ?? "");
  if (!match)
    throw new Passing(`Cannot ${what}: found Content-Range ${JSON.stringify(header)}, wanted bytes a-b/size`);
  return Number(match[1]);
}

/** @throws {TypeError} when the answer is not a listing that can be trusted */
export function readRevision(answer: unknown, what: string): Revision {
  const wrong = (found: string, wanted: string) =>
    new TypeError(`Cannot ${what}: found ${found}, wanted ${wanted}`);
  const { sha, siblings } = (answer ?? {}) as { sha?: unknown; siblings?: unknown };
  if (typeof sha !== "string" || !/^[0-9a-f]{7,64}$/.test(sha))
    throw wrong(`the commit ${JSON.stringify(sha)}`, "a git id");
  if (!Array.isArray(siblings) || siblings.length > MAX_FILES)
    throw wrong("no list of files", `at most ${MAX_FILES} files`);
  const files = siblings.map((entry: Record<string, unknown>): RemoteFile => {
    const { rfilename: path, size, blobId, lfs } = entry ?? {};
    if (typeof path !== "string" || !isPlainPath(path))
      throw wrong(`the file name ${JSON.stringify(path)}`, "a path inside the model");
    const { sha256, size: lfsSize } = (lfs ?? {}) as { sha256?: unknown; size?: unknown };
    const bytes = lfs ? lfsSize : size;
    if (!Number.isSafeInteger(bytes) || (bytes as number) < 0)
      throw wrong(`${JSON.stringify(path)} with ${JSON.stringify(bytes)} bytes`, "a whole number");
    if (lfs) {
      if (typeof sha256 !== "string" || !/^[0-9a-f]{64}$/.test(sha256))
        throw wrong(`${JSON.stringify(path)} with the digest ${JSON.stringify(sha256)}`, "a sha256");
      return { path, bytes: bytes as number, digest: { kind: "sha256", hex: sha256 } };
    }
    if (typeof blobId !== "string" || !/^[0-9a-f]{40}$/.test(blobId))
      throw wrong(`${JSON.stringify(path)} with the id ${JSON.stringify(blobId)}`, "a git blob's id");
    return { path, bytes: bytes as number, digest: { kind: "git-sha1", hex: blobId } };
  });
  return { commit: sha, files };
}

/** Whether a name from the network stays inside the folder it is put in, on every system. */
function isPlainPath(path: string): boolean {
  // biome-ignore lint/suspicious/noControlCharactersInRegex: they are what is refused
  if (path === "" || path.length > 1024 || /[\u0000-\u001f\\:*?"<>|]/.test(path)) return false;
  return path.split("/").every((part) => part !== "" && part !== "." && part !== ".." && part.length <= 255);
}

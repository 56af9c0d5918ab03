// One request to one endpoint: sent, read whole, and told apart: an answer, a failure that may pass, or a refusal.

import { quote } from "../formats/errors.ts";
import type { Json } from "../formats/json.ts";
import { retryAfter } from "../hub/retry-after.ts";

/** An answer with logprobs of a long prompt takes 60 bytes a token and rank; beyond this it is none. */
const MAX_ANSWER_BYTES = 256 * 2 ** 20;

/** A failure that another try, or another endpoint, may mend. */
export class Passing extends Error {
  /** Milliseconds that the server asked to wait. */
  readonly waitMs: number | undefined;
  /** Whether the endpoint could not take the request at all, so that the request is not at fault. */
  readonly busy: boolean;
  constructor(message: string, options: ErrorOptions & { waitMs?: number | undefined; busy?: boolean } = {}) {
    super(message, options);
    this.waitMs = options.waitMs;
    this.busy = options.busy === true;
  }
}

/** The endpoint is not what it was taken for: a wrong path, key or redirect. The request is not at fault. */
export class Misconfigured extends Error {}

export interface Request {
  readonly method: "GET" | "POST";
  readonly url: URL;
  readonly body?: string;
  readonly key: string | undefined;
  readonly timeoutMs: number;
  readonly signal: AbortSignal;
}

/**
 * The JSON of an answer of status 200.
 * @throws {Passing} for a broken connection, silence, an answer that is no JSON, and the statuses 408, 409, 425, 429, 5xx
 * @throws {Misconfigured} for redirects, and the statuses 401, 403, 404, 405
 * @throws {Error} for other refusals; the signal's reason when it was aborted
 */
export async function send({ method, url, body, key, timeoutMs, signal }: Request): Promise<Json> {
  signal.throwIfAborted();
  const what = `${method} ${url.href}`;
  const controller = new AbortController();
  const onAbort = () => controller.abort(signal.reason);
  signal.addEventListener("abort", onAbort, { once: true });
  let late = false;
  const timer = setTimeout(() => {
    late = true;
    controller.abort();
  }, timeoutMs);
  try {
    const response = await fetch(url.href, {
      method,
      redirect: "manual",
      signal: controller.signal,
      headers: {
        "user-agent": "pith",
        accept: "application/json",
        ...(body !== undefined && { "content-type": "application/json" }),
        ...(key && { authorization: `Bearer ${key}` }),
      },
      ...(body !== undefined && { body }),
    });
    if (response.status !== 200) throw await refusal(what, response, key);
    const text = redact(await readText(response, what), key);
    try {
      return JSON.parse(text) as Json;
    } catch {
      throw new Passing(`Cannot ${what}: its answer is no JSON: ${quote(text)}`);
    }
  } catch (error) {
    signal.throwIfAborted();
    if (late) throw new Passing(`Cannot ${what}: no whole answer within ${timeoutMs / 1000} s`);
    if (error instanceof Passing || error instanceof Misconfigured || (error as Refused).refused) throw error;
    const inner = error instanceof Error && error.cause instanceof Error ? error.cause : (error as Error);
    const { code } = inner as NodeJS.ErrnoException;
    if (code === "ERR_OFFLINE") throw new Error(`Cannot ${what}: ${inner.message}`);
    const busy = /^(ECONNREFUSED|EHOSTUNREACH|ENETUNREACH|EAI_AGAIN|ENOTFOUND|UND_ERR_CONNECT_TIMEOUT)$/.test(
      code ?? "",
    );
    const reason = inner.message || code || String(inner);
    throw new Passing(`Cannot ${what}: the connection failed: ${reason}`, { cause: error, busy });
  } finally {
    clearTimeout(timer);
    signal.removeEventListener("abort", onAbort);
  }
}

type Refused = Error & { refused?: true };

async function readText(response: Response, what: string): Promise<string> {
  const parts: Uint8Array[] = [];
  let bytes = 0;
  for await (const part of (response.body ?? []) as unknown as AsyncIterable<Uint8Array>) {
    bytes += part.length;
    if (bytes > MAX_ANSWER_BYTES)
      throw Object.assign(new RangeError(`Cannot ${what}: its answer is over ${MAX_ANSWER_BYTES} bytes`), {
        refused: true,
      });
    parts.push(part);
  }
  return Buffer.concat(parts).toString("utf8");
}

/** Some servers say which key they were given. */
const redact = (text: string, key: string | undefined): string => (key ? text.replaceAll(key, "***") : text);

async function refusal(what: string, response: Response, key: string | undefined): Promise<Error> {
  const { status } = response;
  const found = `Cannot ${what}: it answered ${status}`;
  if (status >= 300 && status < 400) {
    await response.body?.cancel();
    const to = quote(response.headers.get("location") ?? "nowhere");
    return new Misconfigured(
      `${found}, redirected to ${to}, which is not followed; give that URL if you mean it`,
    );
  }
  const text = await readText(response, what).catch(() => "");
  const said = messageOf(redact(text, key));
  const message = said === "" ? found : `${found}: ${said}`;
  if (status === 401 || status === 403)
    return new Misconfigured(`${message}; the key comes from the environment variable PITH_API_KEY`);
  if (status === 404 || status === 405)
    return new Misconfigured(
      `${message}; wanted the base URL of the API (which ends in /v1) and a model that is there`,
    );
  if (status === 408 || status === 409 || status === 425 || status === 429 || status >= 500)
    return new Passing(message, {
      waitMs: retryAfter(response.headers.get("retry-after")),
      busy: status === 429 || status === 503,
    });
  return Object.assign(new Error(message), { refused: true });
}

/** What a server says in its own words: `error.message`, `message`, `detail`, or the text itself. */
function messageOf(text: string): string {
  try {
    const { error, message, detail } = JSON.parse(text) as Record<string, unknown>;
    const inner = (error as { message?: unknown } | undefined)?.message ?? error ?? message ?? detail;
    if (inner !== undefined) return quote(typeof inner === "string" ? inner : JSON.stringify(inner));
  } catch {
    // Not JSON: shown as it is.
  }
  return text === "" ? "" : quote(text);
}

// Endpoints as a teacher: what a model that is served elsewhere says of the student's samples.

import { setMaxListeners } from "node:events";
import { type EndpointOptions, EndpointPool, modelOf, scoreText } from "../remote/index.ts";
import type { Tokenizer } from "../tokenizer/index.ts";
import type { Sample } from "../train/index.ts";
import type { Teacher } from "./types.ts";

export interface EndpointTeacherOptions extends EndpointOptions {
  /** Of the student, whose ids are sent: endpoints with other tokens under them are refused. */
  readonly tokenizer: Tokenizer;
}

/**
 * Endpoints that serve one model, as a teacher. Its rows are at temperature 1: what servers give is the likeliest tokens
 * of softmax(logits), of which no other temperature's can be made without the rest.
 * @throws as `EndpointPool`; `score` rejects, naming the host, when it gives no logprobs, or those of another tokenizer
 */
export function endpointTeacher(urls: string | readonly string[], options: EndpointTeacherOptions): Teacher {
  const { tokenizer, ...rest } = options;
  const pool = new EndpointPool(urls, rest);
  let model: Promise<string> | undefined;
  return {
    name: pool.urls.map((url) => url.host).join(","),
    async score(samples: readonly Sample[], k: number, signal?: AbortSignal) {
      signal?.throwIfAborted();
      model ??= modelOf(pool, rest.model, signal).catch((error) => {
        model = undefined;
        throw error;
      });
      const settings = { model: await model, tokenizer };
      // One that fails ends the others: their answers would be thrown away.
      const failed = new AbortController();
      setMaxListeners(0, failed.signal); // a listener for each sample
      const onAbort = () => failed.abort(signal!.reason);
      signal?.addEventListener("abort", onAbort, { once: true });
      try {
        return await Promise.all(
          samples.map((sample) => scoreText(pool, sample, k, settings, failed.signal)),
        );
      } catch (error) {
        failed.abort(error);
        throw error;
      } finally {
        signal?.removeEventListener("abort", onAbort);
      }
    },
    async close() {
      pool.close();
    },
  };
}

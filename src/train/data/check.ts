// What is looked at before training starts: what would train nothing, or the wrong thing, without a word.

import type { Sample } from "../types.ts";
import { Seen } from "./arena.ts";
import type { Notes } from "./mask.ts";

/** File -> SHA-256. */
export function fileDigests({ files }: Pick<DataStats, "files">): Record<string, string> {
  return Object.fromEntries(files.map(({ file, sha256 }) => [file, sha256]));
}

/** What a set of data is, for the report and the dry run. */
export interface DataStats {
  readonly files: readonly { readonly file: string; readonly sha256: string; readonly lines: number }[];
  readonly samples: number;
  readonly tokens: number;
  /** Tokens that are part of the loss. */
  readonly learned: number;
  readonly longest: { readonly tokens: number; readonly file: string; readonly line: number };
  /** Samples longer than the context, that were dropped or cut. */
  readonly dropped: number;
  readonly cut: number;
  /** What should be known before training: duplicates, end tokens that nothing stops at. */
  readonly warnings: readonly string[];
}

/** Counts samples longer than the context. */
export class LongSamples {
  count = 0;
  longest: { tokens: number; file: string; line: number } | undefined;
  readonly #ctx: number;

  constructor(ctx: number) {
    this.#ctx = ctx;
  }

  /** Whether a sample of `tokens` tokens is too long. */
  add(tokens: number, { file, line }: Sample["source"]): boolean {
    if (tokens > (this.longest?.tokens ?? 0)) this.longest = { tokens, file, line };
    if (tokens > this.#ctx) this.count++;
    return tokens > this.#ctx;
  }

  /** @throws {RangeError} when there were any */
  refuse(samples: number): void {
    if (this.count === 0) return;
    const { tokens, file, line } = this.longest!;
    throw new RangeError(
      `Cannot train on samples longer than the context of ${this.#ctx} tokens: ${this.count} of ${samples} are, the longest ` +
        `with ${tokens} tokens (${file}, line ${line}), wanted a context of ${tokens} (--ctx), or long samples dropped or cut (--long)`,
    );
  }
}

/**
 * The set is one that can be learned from.
 * @param unmasked whether every token of every sample is learned, although these have prompts
 * @throws {RangeError} for a set without samples, or a mask of all ones
 */
export function checkSet(samples: readonly Sample[], unmasked: boolean, names: readonly string[]): void {
  const named = names.map((name) => JSON.stringify(name)).join(", ");
  if (samples.length === 0)
    throw new RangeError(`Cannot train on ${named}: it has no samples that can be learned from`);
  if (unmasked)
    throw new RangeError(
      `Cannot train on ${named}: every token of every sample would be learned, wanted prompts that are not`,
    );
}

/** Warnings about a set. */
export function warningsOf(samples: readonly Sample[], notes: Notes, lines: number): string[] {
  const warnings: string[] = [];
  const seen = new Seen();
  let again = 0;
  let first: readonly [Sample, Sample] | undefined;
  for (const sample of samples) {
    const before = seen.find(sample);
    if (before) {
      again++;
      first ??= [before, sample];
    } else seen.add(sample);
  }
  if (first)
    warnings.push(
      `${again} of ${samples.length} samples repeat an earlier one (${place(first[1])} is ${place(first[0])})`,
    );
  for (const [token, turns] of notes.unknownEnds)
    warnings.push(
      `${turns} turns end with ${JSON.stringify(token)}, which does not end generation: the model's end tokens lack it`,
    );
  if (notes.rewritten > 0)
    warnings.push(
      `${notes.rewritten} turns have samples of their own, beside ${lines} lines: the chat template writes them differently once others follow`,
    );
  if (notes.lostReasoning > 0)
    warnings.push(
      `the reasoning of ${notes.lostReasoning} turns is not learned: the chat template leaves it out (it may have a setting, as enable_thinking)`,
    );
  return warnings;
}

/** Samples of `evaluation` that are also in `training`, as a warning; undefined when there are none. */
export function overlapWarning(
  training: readonly Sample[],
  evaluation: readonly Sample[],
): string | undefined {
  const seen = new Seen();
  for (const sample of training) seen.add(sample);
  const both = evaluation.filter((sample) => seen.find(sample));
  const [one] = both;
  if (!one) return undefined;
  return `${both.length} of ${evaluation.length} samples of evaluation are also trained on (${place(one)} is ${place(seen.find(one)!)})`;
}

const place = ({ source }: Sample): string => `${source.file}, line ${source.line}`;

// What a demonstration is asked for, what it tells on its way, and what comes out. Types only.

import type { BackendName } from "../engine/backends/index.ts";
import type { Tool } from "../tools/index.ts";

export interface DemoOptions {
  /** A model that calls functions. Default: the package's own, models/caller. */
  readonly model?: string;
  /** The folder for everything that is made. Default "pith-demo". */
  readonly out?: string;
  /** Replace a folder there that no demonstration has made. */
  readonly overwrite?: boolean;
  /** Less of everything: for a first look, and for tests. */
  readonly fast?: boolean;
  /** Of tools, words, sentences and training. Default: by chance, and told. */
  readonly seed?: number;
  /** A sentence for the tools, or who is asked for one when the tools are known. */
  readonly sentence?: string | ((tools: readonly Tool[], signal: AbortSignal) => Promise<string | undefined>);
  /** Own functions, as a JSON file or a list, instead of invented ones. */
  readonly tools?: string | readonly unknown[];
  /** Own examples for these tools: JSONL of `prompt` (or `messages`) and the calls as `completion`. */
  readonly examples?: string;
  readonly backend?: BackendName;
  readonly threads?: number;
  readonly signal?: AbortSignal;
}

export interface DemoEvent {
  /** Of the step. */
  readonly id: string;
  readonly title: string;
  /** From 1, of how many. */
  readonly index: number;
  readonly steps: number;
  readonly stage: "begun" | "working" | "done";
  /** While it works: what it does, and how far that is. */
  readonly what?: string;
  readonly done?: number;
  readonly total?: number;
  readonly text?: string;
  /** When it is done. */
  readonly result?: DemoStepResult;
}

/** JSON-able. */
export interface DemoStepResult {
  readonly id: string;
  readonly title: string;
  readonly seconds: number;
  /** What was found, in sentences. */
  readonly lines: readonly string[];
  /** Commands that do the same with a model of one's own. */
  readonly commands: readonly string[];
  readonly figures: Readonly<Record<string, number>>;
}

/** JSON-able. */
export interface DemoResult {
  /** With it, the same tools, words and sentences come again. */
  readonly seed: number;
  readonly folder: string;
  /** Path of the page. */
  readonly report: string;
  readonly seconds: number;
  readonly steps: readonly DemoStepResult[];
}

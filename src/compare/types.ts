// What a comparison is asked for and what it gives. Types only.

import type { KvType } from "../engine/backend.ts";
import type { BackendName } from "../engine/backends/index.ts";
import type { Figure, Metric } from "../evaluate/index.ts";
import type { EndpointOptions } from "../remote/index.ts";

export interface CompareOptions {
  /** A text file: perplexity, bits a byte, and the KL divergence to the first model that is computed here. */
  readonly text?: string;
  /** So many bytes of the text, from its beginning. Default: all of it. */
  readonly text_bytes?: number;
  /** Task files, as `evaluate` takes them. */
  readonly task?: string | readonly string[];
  /** So many lines of each task. Default: all. */
  readonly task_lines?: number;
  /** Short answers that are timed, one after another: default 1000, of an endpoint 100. */
  readonly answers?: number;
  /** They end after so many seconds for each model, but not before 20 answers. Default 30. */
  readonly answer_seconds?: number;
  /** Rounds in which speeds are measured; the median counts. Default 5. */
  readonly rounds?: number;
  /** Of all models. Default: the shortest of theirs, at most 4096. */
  readonly ctx?: number;
  readonly kv?: KvType;
  readonly threads?: number;
  readonly backend?: BackendName;
  /** Of a model that is a URL: which hosts may be talked to, the model's name there. */
  readonly endpoint?: EndpointOptions;
  /** Where the page is written. Default: nowhere. */
  readonly out?: string;
  readonly signal?: AbortSignal;
}

export type CompareStage = "opening" | "loading" | "text" | "task" | "speed" | "answers";

export interface CompareEvent {
  /** Its name in the result. */
  readonly model: string;
  readonly stage: CompareStage;
  readonly done: number;
  readonly total: number;
}

/** JSON-able. What was not measured, or cannot be, is absent. */
export interface CompareResult {
  readonly models: readonly Compared[];
  /** Of the models that are computed here. */
  readonly machine: {
    readonly processor: string;
    readonly backend: string;
    readonly kernels: string;
    readonly threads: number;
    /** Tokens that a model had room for. */
    readonly ctx: number;
  };
  /** What perplexity was measured on. */
  readonly text?: {
    readonly name: string;
    readonly bytes: number;
    /** Tokens of a window, and how far windows are apart: every token is scored once. */
    readonly ctx: number;
    readonly stride: number;
    /** The model whose distributions the others are compared with. */
    readonly reference: string;
  };
  readonly tasks: readonly { readonly name: string; readonly metric: Metric; readonly lines: number }[];
  /** Milliseconds to a server far away and back, before it computes anything: what latencies are set beside. */
  readonly round_trip_ms: number;
  /** Seconds that the comparison took. */
  readonly seconds: number;
  /** Path of the page. */
  readonly report?: string;
}

export interface Compared {
  /** Short, and no other model's. */
  readonly name: string;
  /** As it was given. */
  readonly model: string;
  readonly kind: "folder" | "gguf" | "endpoint";
  /** As its files state it. */
  readonly licence?: string;
  readonly parameters?: number;
  /** Of the files that the model consists of. */
  readonly file_bytes?: number;
  readonly bits_per_weight?: number;
  /** Types of its weights, those with most bytes first. */
  readonly types?: readonly string[];
  /** How much the process's resident memory grew by loading it, a prompt, and eight answers at once; engine included. */
  readonly memory_bytes?: number;
  /** Loading, the file in the system's cache. */
  readonly load_ms?: number;
  readonly speed?: Speed;
  readonly answers?: Answers;
  readonly energy?: Energy;
  readonly text?: TextFigures;
  /** Of each task, in their order. */
  readonly tasks: readonly TaskFigures[];
  readonly data: DataUse;
  /** What else should be known. */
  readonly notes: readonly string[];
}

/** Tokens a second. Of an endpoint with the way there and back, and as far as it counts tokens. */
export interface Speed {
  readonly prefill?: number;
  /** Tokens of that prompt. */
  readonly prefill_tokens?: number;
  readonly decode?: number;
  /** All tokens of eight answers at once. */
  readonly decode_8?: number;
  /** Bytes of weights that a token reads, times `decode`. */
  readonly decode_bytes?: number;
  /** Of a plain read of memory, in the same minutes; native backend only. */
  readonly read_bytes?: number;
  /**
   * Parameters of the largest model that would still make 150 tokens/s here:
   * decode_bytes / 150 / (bits_per_weight / 8).
   */
  readonly largest_at_150?: number;
}

/** Milliseconds of whole short answers, one after another. */
export interface Answers {
  readonly count: number;
  /** Tokens of an answer, at most. */
  readonly tokens: number;
  readonly first_token_p50?: number;
  readonly p50: number;
  /** Absent below 100 answers. */
  readonly p99?: number;
  /** Absent below 1000 answers. */
  readonly p99_9?: number;
  /** All of them, sorted. */
  readonly ms: readonly number[];
}

/** Of a token that one sequence decodes. */
export interface Energy {
  /** Of the whole processor, what it takes when idle included; where the system tells (RAPL). */
  readonly joules_per_token?: number;
  /** Of all threads. */
  readonly cpu_seconds_per_token: number;
}

export interface TextFigures {
  readonly tokens: number;
  readonly perplexity: number;
  readonly perplexity_se: number;
  /** Of the text's own bytes: comparable between tokenizers. */
  readonly bits_per_byte: number;
  readonly bits_per_byte_se: number;
  /** Beside the reference, where both have the same tokens: see `TextResult`. */
  readonly log_ratio?: number;
  readonly log_ratio_se?: number;
  readonly kl_mean?: number;
  readonly kl_se?: number;
  readonly kl_p99?: number;
  readonly top1?: number;
  /** Why there is no comparison token by token. */
  readonly other_tokens?: string;
}

export interface TaskFigures {
  readonly lines: number;
  /** See `Scores`. Empty where the model cannot be asked in this way. */
  readonly scores: Readonly<Record<string, Figure>>;
  /** Share of right answers less the first model's, with its 95 % interval: the same lines, by a bootstrap of pairs. */
  readonly beside_first?: Figure;
}

export interface DataUse {
  /** The host that the prompts and questions were sent to; absent: none, all was computed in this process. */
  readonly sent_to?: string;
  readonly requests?: number;
  readonly prompt_tokens?: number;
  readonly completion_tokens?: number;
}

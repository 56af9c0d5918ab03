// What runs in a worker of its own: the grammar library, the compiled grammars and the matchers. Compiling one takes as
// long as many tokens, and must not hold up those that are being generated.

/** The vocabulary as the worker gets it. */
export interface WorkerVocabulary {
  /** The library's file. */
  readonly library: string;
  /** Bytes of token i at offsets[i] .. offsets[i + 1]; none: it is never allowed. */
  readonly bytes: Uint8Array;
  readonly offsets: Uint32Array;
  /** Tokens that end a text. */
  readonly eos: readonly number[];
}

/** `open` compiles the grammar, unless it is known, and begins a text; `next` adds tokens and wants a mask. */
export type WorkerRequest =
  | { readonly kind: "open"; readonly id: number; readonly grammar: string }
  | { readonly kind: "next"; readonly id: number; readonly ids: readonly number[] }
  | { readonly kind: "close"; readonly id: number };

export interface WorkerReply {
  readonly id: number;
  readonly mask?: Int32Array;
  readonly error?: string;
}

/** The part of @mlc-ai/web-xgrammar that is used. */
interface Library {
  readonly TokenizerInfo: {
    createTokenizerInfo(
      vocabulary: Uint8Array[],
      type: "raw",
      prependSpace: boolean,
      size: number,
      stop: number[],
    ): Promise<unknown>;
  };
  readonly GrammarCompiler: {
    createGrammarCompiler(info: unknown, cache: boolean): Promise<Compiler>;
  };
  readonly GrammarMatcher: { createGrammarMatcher(grammar: Compiled): Promise<Matcher> };
}
interface Compiled {
  dispose(): void;
}
interface Compiler {
  compileGrammar(ebnf: string): Promise<Compiled>;
}
interface Matcher {
  getNextTokenBitmask(): Promise<Int32Array>;
  acceptToken(id: number): boolean;
  dispose(): void;
}

/** The source of the worker. The function is handed over as text, so that it runs alike from sources and when built. */
export function workerSource(): string {
  return `(${grammarWorker.toString()})(require)`;
}

/** Uses nothing from outside itself. */
function grammarWorker(require: NodeJS.Require): void {
  const { parentPort, workerData } = require("node:worker_threads") as typeof import("node:worker_threads");
  const { createRequire } = require("node:module") as typeof import("node:module");
  const { readFileSync } = require("node:fs") as typeof import("node:fs");
  const port = parentPort!;
  const { library: file, bytes, offsets, eos } = workerData as WorkerVocabulary;
  const CACHED = 16;
  const compiled = new Map<string, Compiled>();
  const matchers = new Map<number, Matcher>();
  let said = "";
  let starting: Promise<{ library: Library; compiler: Compiler }> | undefined;

  async function start(): Promise<{ library: Library; compiler: Compiler }> {
    // The package is CommonJS, but calls itself a module: its text is run as what it is.
    const module = { exports: {} };
    const hear = (...words: unknown[]) => {
      said += `${words.join(" ")}\n`;
    };
    const ears = { log: hear, warn: hear, error: hear, info: hear };
    const run = new Function(
      "exports",
      "module",
      "require",
      "__filename",
      "console",
      readFileSync(file, "utf8"),
    );
    run(module.exports, module, createRequire(file), file, ears);
    const library = module.exports as Library;
    const size = offsets.length - 1;
    const vocabulary = Array.from({ length: size }, (_, i) => bytes.subarray(offsets[i]!, offsets[i + 1]!));
    const info = await library.TokenizerInfo.createTokenizerInfo(vocabulary, "raw", false, size, [...eos]);
    return { library, compiler: await library.GrammarCompiler.createGrammarCompiler(info, false) };
  }

  async function open(id: number, grammar: string): Promise<void> {
    starting ??= start();
    const { library, compiler } = await starting;
    const known = compiled.get(grammar) ?? (await compiler.compileGrammar(grammar));
    compiled.delete(grammar);
    compiled.set(grammar, known); // the last used is last
    if (compiled.size > CACHED) {
      const [oldest, unused] = compiled.entries().next().value!;
      compiled.delete(oldest);
      unused.dispose();
    }
    matchers.set(id, await library.GrammarMatcher.createGrammarMatcher(known));
  }

  async function next(id: number, ids: readonly number[]): Promise<Int32Array> {
    const matcher = matchers.get(id)!;
    for (const token of ids)
      if (!matcher.acceptToken(token)) throw new Error(`token ${token} does not fit the grammar`);
    return matcher.getNextTokenBitmask();
  }

  async function answer(request: WorkerRequest): Promise<void> {
    const { id } = request;
    said = "";
    try {
      if (request.kind === "close") {
        matchers.get(id)?.dispose();
        matchers.delete(id);
      } else if (request.kind === "open") {
        await open(id, request.grammar);
        port.postMessage({ id });
      } else {
        const mask = await next(id, request.ids);
        port.postMessage({ id, mask }, [mask.buffer as ArrayBuffer]);
      }
    } catch (error) {
      // A fault of the library prints what is wrong, after the place in its own source, and throws "Aborted".
      const told = /\.(?:cc|h):\d+: ([^\n]*)/.exec(said)?.[1];
      port.postMessage({ id, error: told ?? (error as Error | undefined)?.message ?? String(error) });
    }
  }

  let turn = Promise.resolve();
  port.on("message", (request: WorkerRequest) => {
    turn = turn.then(() => answer(request));
  });
}

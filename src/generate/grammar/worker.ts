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

/** What the worker gets when it starts. */
export interface WorkerStart extends WorkerVocabulary {
  /** One word, which changes whenever there is something to do: a message, or a mask that is asked for. */
  readonly bell: Int32Array<SharedArrayBuffer>;
}

/**
 * Words of a text, shared by both threads: what is asked, the token that comes before it, and the mask from `mask` on.
 * No message is sent for a mask that is there when it is wanted.
 */
export const WORDS = { state: 0, token: 1, mask: 2 } as const;
/** `asked`: a mask is to be made, with the token added if it is not negative. `awaited`: a message is to tell of it. */
export const STATES = { made: 0, asked: 1, awaited: 2 } as const;

/** `open` compiles the grammar, unless it is known, and begins a text. */
export type WorkerRequest =
  | {
      readonly kind: "open";
      readonly id: number;
      readonly grammar: string;
      readonly words: Int32Array<SharedArrayBuffer>;
    }
  | { readonly kind: "close"; readonly id: number };

/** A text is open, its awaited mask is made, or either failed. */
export interface WorkerReply {
  readonly id: number;
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
  return `(${grammarWorker.toString()})(require, ${JSON.stringify(WORDS)}, ${JSON.stringify(STATES)})`;
}

/** Uses nothing from outside itself. */
function grammarWorker(require: NodeJS.Require, at: typeof WORDS, states: typeof STATES): void {
  const { parentPort, receiveMessageOnPort, workerData } =
    require("node:worker_threads") as typeof import("node:worker_threads");
  const { createRequire } = require("node:module") as typeof import("node:module");
  const { readFileSync } = require("node:fs") as typeof import("node:fs");
  const port = parentPort!;
  const { library: file, bytes, offsets, eos, bell } = workerData as WorkerStart;
  const CACHED = 16;
  const compiled = new Map<string, Compiled>();
  const texts = new Map<number, { matcher: Matcher; words: Int32Array }>();
  let said = "";
  let starting: Promise<{ library: Library; compiler: Compiler }> | undefined;

  async function start(): Promise<{ library: Library; compiler: Compiler }> {
    // The package is CommonJS, but calls itself a module: its text is run as what it is.
    const module = { exports: {} };
    const listen = (...words: unknown[]) => {
      said += `${words.join(" ")}\n`;
    };
    const ears = { log: listen, warn: listen, error: listen, info: listen };
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

  async function open(id: number, grammar: string, words: Int32Array): Promise<void> {
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
    texts.set(id, { matcher: await library.GrammarMatcher.createGrammarMatcher(known), words });
  }

  async function next(matcher: Matcher, words: Int32Array): Promise<void> {
    const token = words[at.token]!;
    if (token >= 0 && !matcher.acceptToken(token)) throw new Error(`token ${token} does not fit the grammar`);
    words.set(await matcher.getNextTokenBitmask(), at.mask);
  }

  async function answer(id: number, work: () => Promise<boolean>): Promise<void> {
    said = "";
    try {
      if (await work()) port.postMessage({ id });
    } catch (error) {
      texts.delete(id);
      // A fault of the library prints what is wrong, after the place in its own source, and throws "Aborted".
      const told = /\.(?:cc|h):\d+: ([^\n]*)/.exec(said)?.[1];
      port.postMessage({ id, error: told ?? (error as Error | undefined)?.message ?? String(error) });
    }
  }

  async function hear(request: WorkerRequest): Promise<boolean> {
    if (request.kind === "open") {
      await open(request.id, request.grammar, request.words);
      return true;
    }
    texts.get(request.id)?.matcher.dispose();
    texts.delete(request.id);
    return false;
  }

  async function serve(): Promise<never> {
    for (;;) {
      const rung = Atomics.load(bell, 0);
      for (let got = receiveMessageOnPort(port); got; got = receiveMessageOnPort(port)) {
        const request: WorkerRequest = got.message;
        await answer(request.id, () => hear(request));
      }
      for (const [id, { matcher, words }] of texts)
        if (Atomics.load(words, at.state) !== states.made)
          await answer(id, async () => {
            await next(matcher, words);
            const before = Atomics.exchange(words, at.state, states.made);
            Atomics.notify(words, at.state);
            return before === states.awaited;
          });
      Atomics.wait(bell, 0, rung);
    }
  }
  void serve();
}

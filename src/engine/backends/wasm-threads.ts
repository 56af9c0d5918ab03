/**
 * Threads of the WebAssembly backend: workers (of Node or of the browser) that run wasm/worker.js over the module's
 * shared memory. They wait inside the module; here jobs are given to them one after the other. The thread that asks
 * never computes.
 */
import { type Block, builtin, type WasmModule } from "./wasm-module.ts";

/** As much as the module's first thread has (scripts/build-wasm.mjs). */
const STACK_BYTES = 1 << 20;

/** What Node's workers and the browser's have in common, behind one face. */
interface Thread {
  post(message: object): void;
  /** While it is held, it keeps the process alive. Browsers need no such thing. */
  hold(held: boolean): void;
  terminate(): void;
}

interface Waiting {
  resolve(): void;
  reject(error: Error): void;
}

export class WasmThreads {
  /** Scratch of every thread, one after the other. */
  readonly local: Block;
  private readonly module: WasmModule;
  private readonly all: Thread[] = [];
  private waiting: Waiting | undefined;
  private last: Promise<unknown> = Promise.resolve();
  private failed: Error | undefined;
  private ready = 0;

  /**
   * Undefined where workers cannot be had: then programs run on the thread that calls.
   * @param module with shared memory
   */
  static async start(module: WasmModule, threads: number): Promise<WasmThreads | undefined> {
    const made = new WasmThreads(module, threads);
    try {
      const started = made.expect();
      for (let i = 0; i < threads; i++) made.add(i, threads);
      await started;
      return made;
    } catch {
      for (const thread of made.all) thread.terminate();
      return undefined;
    } finally {
      made.waiting = undefined;
      made.hold(false);
    }
  }

  private constructor(module: WasmModule, threads: number) {
    this.module = module;
    this.local = module.alloc(module.exports.local_bytes() * threads, "scratch");
  }

  private add(index: number, threads: number): void {
    const thread = startThread(
      (message) => {
        if (message === "ready" && ++this.ready < threads) return;
        this.waiting?.resolve();
      },
      (error) => {
        this.failed ??= new Error(`Cannot go on: a thread of the wasm backend ended: ${error}`);
        this.waiting?.reject(this.failed);
      },
    );
    this.all.push(thread);
    const stack = this.module.alloc(STACK_BYTES, "the stack of a thread");
    const { compiled, memory } = this.module;
    thread.post({ module: compiled, memory, thread: index, stack: stack.address + STACK_BYTES });
  }

  /** What the threads say next. */
  private expect(): Promise<void> {
    return new Promise<void>((resolve, reject) => {
      this.waiting = { resolve, reject };
    });
  }

  /** `state` states a job, once those before it are done; resolves when all threads have finished it. */
  run(state: () => void): Promise<void> {
    const job = this.last.then(() => this.one(state));
    this.last = job.catch(() => {});
    return job;
  }

  private async one(state: () => void): Promise<void> {
    if (this.failed) throw this.failed;
    this.module.hold();
    this.hold(true);
    try {
      const done = this.expect();
      state();
      this.module.exports.job_post();
      await done;
    } finally {
      this.waiting = undefined;
      this.hold(false);
      this.module.release();
    }
  }

  private hold(held: boolean): void {
    for (const thread of this.all) thread.hold(held);
  }

  /** Ends the threads after the job that they are at. */
  close(): void {
    this.last = this.last.then(() => {
      this.failed ??= new Error("Cannot run a program: the backend was closed");
      this.module.exports.stop();
    });
  }
}

interface NodeWorker {
  postMessage(message: object): void;
  on(event: string, listener: (value: unknown) => void): void;
  ref(): void;
  unref(): void;
  terminate(): void;
}
interface WebWorker {
  postMessage(message: object): void;
  addEventListener(event: string, listener: (event: { data?: unknown; message?: string }) => void): void;
  terminate(): void;
}
type NewWorker<W> = new (url: URL, options: object) => W;

function startThread(heard: (message: unknown) => void, failed: (error: unknown) => void): Thread {
  const node = builtin<{ Worker: NewWorker<NodeWorker> }>("node:worker_threads");
  if (node) {
    // Its own arguments: those of the process may be for something else (a loader, a debugger).
    const worker = new node.Worker(new URL("../../../wasm/worker.js", import.meta.url), { execArgv: [] });
    worker.on("message", heard);
    worker.on("error", failed);
    return {
      post: (message) => worker.postMessage(message),
      hold: (held) => (held ? worker.ref() : worker.unref()),
      terminate: () => worker.terminate(),
    };
  }
  const { Worker } = globalThis as unknown as { Worker: NewWorker<WebWorker> };
  const worker = new Worker(new URL("../../../wasm/worker.js", import.meta.url), { type: "module" });
  worker.addEventListener("message", ({ data }) => heard(data));
  worker.addEventListener("error", ({ message }) => failed(message ?? "it could not be started"));
  return {
    post: (message) => worker.postMessage(message),
    hold: () => {},
    terminate: () => worker.terminate(),
  };
}

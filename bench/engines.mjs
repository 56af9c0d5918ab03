// The engines of the comparison, each in a process of its own: started, asked one thing at a time, ended.
// Knows how to reach them; what is asked and how it is reported is in peers.mjs.
import { execFile, fork, spawn } from "node:child_process";
import { existsSync, mkdirSync, readFileSync, statSync } from "node:fs";
import { cpus } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { cache } from "./models.mjs";

const here = dirname(fileURLToPath(import.meta.url));
const run = promisify(execFile);

/** Node programs that speak the protocol of child.mjs. */
export const programs = { pith: join(here, "pith.mjs"), "node-llama-cpp": join(here, "peers/child.mjs") };

/** An engine's process, kept between questions. */
export class Child {
  /** @param {keyof typeof programs} name @param {string} [cores] as `taskset -c` takes them */
  constructor(name, cores) {
    const node = process.execPath;
    this.startedAt = performance.now();
    this.process = cores
      ? spawn("taskset", ["-c", cores, node, programs[name]], {
          stdio: ["ignore", "inherit", "inherit", "ipc"],
        })
      : fork(programs[name], { stdio: ["ignore", "inherit", "inherit", "ipc"] });
    this.name = name;
    this.ready = this.#reply();
    // Read by the first `ask`; until then a failed start must not end the driver.
    this.ready.catch(() => {});
  }

  /** @returns {Promise<any>} */
  #reply() {
    return new Promise((resolve, reject) => {
      const done = () => {
        this.process.off("message", onMessage);
        this.process.off("exit", onExit);
      };
      const onMessage = (/** @type {{ value?: unknown, error?: string }} */ m) => {
        done();
        if (m.error !== undefined) reject(new Error(`${this.name}: ${m.error}`));
        else resolve(m.value);
      };
      const onExit = (/** @type {number | null} */ code, /** @type {string | null} */ signal) => {
        done();
        reject(new Error(`${this.name}: its process ended with ${signal ?? `exit code ${code}`}`));
      };
      this.process.on("message", onMessage);
      this.process.on("exit", onExit);
    });
  }

  /** @param {string} verb @param {unknown} [args] @returns {Promise<any>} */
  async ask(verb, args) {
    await this.ready;
    const reply = this.#reply();
    this.process.send({ verb, args });
    return reply;
  }

  async close() {
    if (this.process.exitCode !== null || this.process.signalCode !== null) return;
    const gone = new Promise((resolve) => this.process.once("exit", resolve));
    if (this.process.connected) this.process.disconnect();
    const patience = setTimeout(() => this.process.kill("SIGKILL"), 5000);
    await gone;
    clearTimeout(patience);
  }
}

/**
 * A cold start: a fresh process loads the file and answers a short prompt.
 * @param {keyof typeof programs} name @param {string} file @param {number} threads
 */
export async function coldStart(name, file, threads) {
  const child = new Child(name);
  try {
    const loadMs = await child.ask("load", { file, threads, ctx: 1024, sequences: 1 });
    await child.ask("prefill", { tokens: 5 });
    const firstTokenMs = performance.now() - child.startedAt;
    await child.ask("prefill", { tokens: 512 });
    await child.ask("decode", { past: 16, tokens: 16 });
    const { peakRssMib } = await child.ask("usage");
    return { loadMs, firstTokenMs, peakRssMib };
  } finally {
    await child.close();
  }
}

/** The raw read probe (read.c), compiled on first use; `ask(threads)` gives bytes per second. */
export class Probe {
  static async start(mib = 512) {
    const program = join(cache, "read");
    const source = join(here, "read.c");
    mkdirSync(cache, { recursive: true });
    if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
      await run(process.env.CC ?? "cc", ["-O3", "-march=native", "-pthread", source, "-o", program]);
    }
    return new Probe(spawn(program, [String(mib)], { stdio: ["pipe", "pipe", "inherit"] }));
  }
  /** @param {import("node:child_process").ChildProcessByStdio<any, any, null>} child */
  constructor(child) {
    this.child = child;
    this.pages = "unknown";
  }
  /** @param {number} threads @returns {Promise<number>} */
  ask(threads) {
    return new Promise((resolve, reject) => {
      this.child.once("error", reject);
      this.child.stdout.once("data", (/** @type {Buffer} */ line) => {
        this.child.off("error", reject);
        const rollup = `/proc/${this.child.pid}/smaps_rollup`;
        const huge = existsSync(rollup) && /AnonHugePages:\s+(\d+) kB/.exec(readFileSync(rollup, "utf8"));
        if (huge) this.pages = `${Math.round(+huge[1] / 1024)} MiB of it in 2 MiB pages`;
        resolve(Number(line.toString()));
      });
      this.child.stdin.write(`${threads}\n`);
    });
  }
  close() {
    this.child.stdin.end();
  }
}

/** llama.cpp's own programs, in the folder of a `llama-bench` that the user built. */
export class LlamaPrograms {
  /** @param {string} bench path of `llama-bench` */
  constructor(bench) {
    if (!existsSync(bench)) throw new Error(`Cannot run llama-bench: no file "${bench}"`);
    this.bench = bench;
    const near = (/** @type {string} */ name) => {
      const path = join(dirname(bench), name);
      return existsSync(path) ? path : undefined;
    };
    this.batched = near("llama-batched-bench");
    this.completion = near("llama-completion") ?? near("llama-cli");
    this.quantize = near("llama-quantize");
  }

  /** ms a token. @param {string} file @param {{ threads: number, prompt?: number, tokens?: number, past?: number }} o */
  async time(file, { threads, prompt = 0, tokens = 0, past = 0 }) {
    const args = [
      "-m",
      file,
      "-t",
      `${threads}`,
      "-p",
      `${prompt}`,
      "-n",
      `${tokens}`,
      "-d",
      `${past}`,
      "-r",
      "1",
      "-o",
      "json",
    ];
    const { stdout } = await run(this.bench, args, { maxBuffer: 1 << 24 });
    const [result] = JSON.parse(stdout);
    this.build = result.build_commit;
    return result.avg_ns / 1e6 / (prompt || tokens);
  }

  /** ms a token of any of `sequences`. @param {string} file @param {{ threads: number, sequences: number, past: number, tokens: number }} o */
  async batch(file, { threads, sequences, past, tokens }) {
    if (!this.batched) return undefined;
    const args = ["-m", file, "-t", `${threads}`, "-c", `${sequences * (past + tokens)}`];
    args.push("-npp", `${past}`, "-ntg", `${tokens}`, "-npl", `${sequences}`, "--output-format", "jsonl");
    const { stdout } = await run(this.batched, args, { maxBuffer: 1 << 24 });
    const line = stdout.split("\n").find((l) => l.startsWith("{"));
    if (!line)
      throw new Error(`Cannot read llama-batched-bench's output: ${JSON.stringify(stdout.slice(0, 200))}`);
    return 1e3 / JSON.parse(line).speed_tg;
  }

  /** From process start to the end of a process that makes one token, and its peak memory. @param {string} file @param {number} threads */
  async coldStart(file, threads) {
    if (!this.completion) return undefined;
    const args = [
      "-m",
      file,
      "-t",
      `${threads}`,
      "-c",
      "1024",
      "-p",
      "Once upon a time",
      "-n",
      "1",
      "-no-cnv",
      "--no-warmup",
    ];
    const start = performance.now();
    const child = spawn(this.completion, args, { stdio: ["ignore", "ignore", "ignore"] });
    let peakRssMib = 0;
    const watch = setInterval(() => {
      try {
        const found = /VmHWM:\s+(\d+) kB/.exec(readFileSync(`/proc/${child.pid}/status`, "utf8"));
        if (found) peakRssMib = Math.max(peakRssMib, +found[1] / 1024);
      } catch {
        // It has ended; what was seen last stands.
      }
    }, 10);
    const code = await new Promise((resolve) => child.once("exit", resolve));
    clearInterval(watch);
    if (code !== 0) throw new Error(`llama-completion ended with exit code ${code}`);
    return { firstTokenMs: performance.now() - start, peakRssMib };
  }
}

export const machine = () => ({
  processor: cpus()[0]?.model.trim() ?? "unknown",
  cores: cpus().length,
  node: process.version,
});

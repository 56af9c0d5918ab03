// Starts, tells, kills and starts again the process of teacher-process.ts.

import { type ChildProcess, spawn } from "node:child_process";
import { once } from "node:events";
import { readFile, symlink, writeFile } from "node:fs/promises";
import { join, resolve } from "node:path";
import ts from "typescript";
import { buildFolders } from "./built.ts";
import type { Fault, Seen } from "./teacher-process.ts";

const ROOT = resolve(import.meta.dirname, "../..");

/**
 * Writes the process into a folder, once for all servers of a test file.
 * @param models whether some of them serve a model, for which they need sources
 */
export async function buildTeacher(dir: string, models: boolean): Promise<void> {
  const js = join(dir, "js");
  await buildFolders(js, models ? ["generate"] : []);
  for (const name of ["native", "wasm", "node_modules"])
    await symlink(join(ROOT, name), join(dir, name)).catch(() => {});
  const { outputText } = ts.transpileModule(
    await readFile(join(import.meta.dirname, "teacher-process.ts"), "utf8"),
    { compilerOptions: { module: ts.ModuleKind.ESNext, target: ts.ScriptTarget.ES2023 } },
  );
  await writeFile(join(js, "teacher.js"), outputText);
}

export class TeacherServer {
  readonly #dir: string;
  readonly #what: string;
  #child: ChildProcess | undefined;
  #port = 0;

  private constructor(dir: string, what: string) {
    this.#dir = dir;
    this.#what = what;
  }

  /** @param what a model's folder, or "rule" */
  static async start(dir: string, what = "rule"): Promise<TeacherServer> {
    const server = new TeacherServer(dir, what);
    await server.start();
    return server;
  }

  get url(): string {
    return `http://127.0.0.1:${this.#port}/v1`;
  }

  get host(): string {
    return `127.0.0.1:${this.#port}`;
  }

  /** The process again, on the port that it had. */
  async start(): Promise<void> {
    const child = spawn(
      process.execPath,
      [join(this.#dir, "js/teacher.js"), String(this.#port), this.#what],
      {
        stdio: ["ignore", "pipe", "inherit"],
      },
    );
    this.#child = child;
    const [line] = await once(child.stdout!, "data");
    this.#port = Number(String(line));
  }

  async kill(): Promise<void> {
    const child = this.#child;
    if (!child || child.exitCode !== null || child.signalCode !== null) return;
    const gone = once(child, "exit");
    child.kill("SIGKILL");
    await gone;
  }

  /** What the next requests get. */
  async misbehave(...faults: Fault[]): Promise<void> {
    await fetch(`http://${this.host}/control`, { method: "POST", body: JSON.stringify(faults) });
  }

  /** Requests of the API since it started, and how many there were at once. */
  async seen(): Promise<{ seen: Seen[]; most: number }> {
    return (await fetch(`http://${this.host}/control`)).json() as Promise<{ seen: Seen[]; most: number }>;
  }
}

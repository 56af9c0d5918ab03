// pith demo: the whole story, printed as it happens.

import { createInterface } from "node:readline/promises";
import { type DemoEvent, type DemoOptions, type DemoResult, demo as runDemo } from "../demo/index.ts";
import { goOffline } from "../hub/offline.ts";
import type { Tool } from "../tools/index.ts";
import { interruptible } from "./interrupt.ts";
import { note, oneLine, printJson, visible } from "./output.ts";
import { duration, type Progress, progressBar } from "./progress.ts";
import { set } from "./train.ts";

export interface DemoCliOptions extends Omit<DemoOptions, "sentence" | "signal"> {
  json?: boolean;
}

/** A terminal is waited for so long. */
const PATIENCE_MS = 20_000;

export async function demo(words: readonly string[], { json, ...options }: DemoCliOptions): Promise<void> {
  goOffline(); // that nothing leaves is no promise but an error
  const bar = new Telling(json === true);
  const sentence = words.join(" ");
  const asks = process.stdin.isTTY === true && process.stderr.isTTY === true && !json;
  const result = await interruptible("Interrupted: nothing was written", async (signal) => {
    const job = runDemo({
      ...set(options),
      ...(sentence !== "" ? { sentence } : asks && { sentence: (tools, at) => bar.ask(tools, at) }),
      signal,
    });
    try {
      for await (const event of job) bar.event(event);
    } finally {
      bar.stop();
    }
    return job.result;
  });
  if (json) return printJson(result);
  printEnd(result);
}

function printEnd({ report, folder, seed, seconds }: DemoResult): void {
  process.stdout.write(
    `\nAll of it took ${duration(seconds)}. The page with every figure: ${report}\nEverything that was made is in ${folder}; the same again: npx pith demo --seed ${seed}\n`,
  );
}

/** A heading and what was found for each step, and a bar between. */
class Telling {
  private bar: Progress | undefined;
  private what = "";
  private readonly quiet: boolean;

  constructor(quiet: boolean) {
    this.quiet = quiet;
  }

  event({ stage, title, index, steps, what = "", done = 0, total = 1, text, result }: DemoEvent): void {
    if (stage === "working") {
      if (what !== this.what) {
        this.stop();
        this.what = what;
        this.bar = progressBar(what);
      }
      this.bar?.update(done, Math.max(1, total), text === undefined ? undefined : ` ${text}`);
      return;
    }
    this.stop();
    if (this.quiet) return;
    if (stage === "begun") process.stdout.write(`\n${index} of ${steps}: ${title}\n`);
    for (const line of result?.lines ?? []) process.stdout.write(`  ${visible(line)}\n`);
    if (result && result.commands.length > 0)
      process.stdout.write(
        `  With your own model:\n${result.commands.map((one) => `    ${oneLine(one)}\n`).join("")}`,
      );
  }

  /** A sentence of whoever sits there; none after a while. */
  async ask(tools: readonly Tool[], signal: AbortSignal): Promise<string | undefined> {
    this.stop();
    const line = createInterface({ input: process.stdin, output: process.stderr });
    const patience = AbortSignal.timeout(PATIENCE_MS);
    for (const { name, description, parameters } of tools)
      note(
        `  ${name}(${Object.keys(parameters.properties).join(", ")})${description === undefined ? "" : `  ${description}`}`,
      );
    try {
      const given = await line.question("  A sentence of yours for one of them (Enter: none): ", {
        signal: AbortSignal.any([signal, patience]),
      });
      return given.trim() === "" ? undefined : given.trim();
    } catch (error) {
      if (!patience.aborted) throw error;
      note("");
      return undefined;
    } finally {
      line.close();
    }
  }

  stop(): void {
    this.bar?.stop();
    this.bar = undefined;
    this.what = "";
  }
}

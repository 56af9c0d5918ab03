// How far long work is, on stderr: a bar with rate and time left on a terminal, a line now and then where there is none.
// Nothing for work that is over at once.

import type { SingleBar } from "cli-progress";
import { bytes, figure, note } from "./output.ts";

/** Work shorter than this shows no bar. */
const PATIENCE_MS = 400;
/** Between two lines where there is no terminal. */
const LINE_MS = 10_000;

export interface Progress {
  /** @param text in place of rate and time left; a line of its own at once, where there is no terminal and `now` */
  update(done: number, total: number, text?: string, now?: boolean): void;
  stop(): void;
}

/** @param unit what is counted: "bytes", or a name in the plural ("tokens"); without one only the share is shown. */
export function progressBar(what: string, unit?: string): Progress {
  const started = performance.now();
  const state = { first: undefined as number | undefined, line: started };
  /** Rate and time left, from what was done since the first report. */
  const pace = (done: number, total: number): string => {
    state.first ??= done;
    const perSecond = ((done - state.first) / (performance.now() - started)) * 1000;
    if (!(perSecond > 0)) return "";
    const shown = unit === "bytes" ? bytes(perSecond) : `${figure(perSecond)} ${unit}`;
    return `${unit === undefined ? "" : ` ${shown}/s`} ${duration((total - done) / perSecond)} left`;
  };
  return process.stderr.isTTY ? terminalBar(what, started, pace) : lines(what, state, pace);
}

function lines(
  what: string,
  state: { line: number },
  pace: (done: number, total: number) => string,
): Progress {
  return {
    update(done, total, text = pace(done, total), now = false) {
      if (performance.now() - state.line < LINE_MS && !now) return;
      state.line = performance.now();
      note(`${what} ${Math.floor((100 * done) / total)}%${text}`);
    },
    stop() {},
  };
}

function terminalBar(what: string, started: number, pace: (done: number, total: number) => string): Progress {
  let bar: SingleBar | undefined;
  let loading = false;
  let stopped = false;
  return {
    update(done, total, text = pace(done, total)) {
      bar?.update(Math.floor((100 * done) / total), { pace: text });
      if (loading || performance.now() - started < PATIENCE_MS) return;
      loading = true;
      void import("cli-progress").then(({ default: { SingleBar, Presets } }) => {
        if (stopped) return;
        const barsize = text.length > 40 ? 12 : 40; // a line of a terminal has room for 80
        const format = `${what} {bar} {percentage}%{pace}`;
        bar = new SingleBar(
          { format, stream: process.stderr, clearOnComplete: true, hideCursor: true, barsize },
          Presets.rect,
        );
        bar.start(100, Math.floor((100 * done) / total), { pace: text });
      });
    },
    stop() {
      stopped = true;
      bar?.stop();
    },
  };
}

/** 75 -> "1m 15s" */
export function duration(seconds: number): string {
  const s = Math.ceil(seconds);
  if (s < 60) return `${s}s`;
  if (s < 3600) return `${Math.floor(s / 60)}m ${s % 60}s`;
  return `${Math.floor(s / 3600)}h ${Math.floor((s % 3600) / 60)}m`;
}

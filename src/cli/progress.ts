// A bar on a terminal's stderr for what takes long; nothing at all where there is no terminal or it is over at once.

import type { SingleBar } from "cli-progress";

/** Work shorter than this shows no bar. */
const PATIENCE_MS = 400;

export interface Progress {
  update(done: number, total: number): void;
  stop(): void;
}

export function progressBar(what: string): Progress {
  if (!process.stderr.isTTY) return { update() {}, stop() {} };
  const started = performance.now();
  let bar: SingleBar | undefined;
  let loading = false;
  let stopped = false;
  return {
    update(done, total) {
      bar?.update(Math.floor((100 * done) / total));
      if (loading || performance.now() - started < PATIENCE_MS) return;
      loading = true;
      void import("cli-progress").then(({ default: { SingleBar, Presets } }) => {
        if (stopped) return;
        const format = `${what} {bar} {percentage}%`;
        bar = new SingleBar(
          { format, stream: process.stderr, clearOnComplete: true, hideCursor: true },
          Presets.rect,
        );
        bar.start(100, Math.floor((100 * done) / total));
      });
    },
    stop() {
      stopped = true;
      bar?.stop();
    },
  };
}

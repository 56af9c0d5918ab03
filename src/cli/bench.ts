// pith bench: how fast a model runs here, beside how fast this machine reads memory.

import { bench as benchModel, median, readBandwidth } from "../generate/bench.ts";
import { load } from "./load.ts";
import type { ModelOptions } from "./options.ts";
import { figure, printJson, printTable } from "./output.ts";

export interface BenchOptions extends ModelOptions {
  rounds?: number;
  json?: boolean;
}

export async function bench(nameOrPath: string, options: BenchOptions): Promise<void> {
  const started = performance.now();
  await using model = await load(nameOrPath, options);
  const load_ms = performance.now() - started;
  await model.generate([...model.eosIds, 1].slice(0, 1), { maxTokens: 1, temperature: 0 });
  // The process's clock starts with the process.
  const first_token_ms = performance.now();
  const reads: number[] = [];
  let peak = 0;
  const measured = await benchModel(model, {
    ...(options.rounds !== undefined && { rounds: options.rounds }),
    onRound: () => {
      // Before the first read of memory, which takes some of its own.
      if (reads.length === 0) peak = process.resourceUsage().maxRSS;
      const bandwidth = readBandwidth(model.backend.threads);
      if (bandwidth !== undefined) reads.push(bandwidth);
    },
  });
  const { decode_bytes_per_second, ...speeds } = measured;
  const bandwidth = reads.length > 0 ? median(reads) : undefined;
  const result = {
    model: model.name,
    ...speeds,
    load_ms,
    first_token_ms,
    peak_rss_mib: peak / 1024,
    bandwidth_gb_per_second: bandwidth === undefined ? null : bandwidth / 1e9,
    bandwidth_share: bandwidth === undefined ? null : decode_bytes_per_second / bandwidth,
    backend: model.backend.name,
    kernels: model.backend.kernels,
    threads: model.backend.threads,
  };
  if (options.json) return printJson(result);
  printTable(
    Object.entries(result).map(([name, value]) => [
      name,
      typeof value === "number" ? figure(value) : String(value ?? "not measured (native backend only)"),
    ]),
  );
}

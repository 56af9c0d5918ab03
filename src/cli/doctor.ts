// pith doctor: what pith finds on this machine, and what it will use.

import { doctor as examine } from "../engine/doctor.ts";
import { bytes, figure, printJson, printTable, version } from "./output.ts";

export async function doctor(options: { json?: boolean }): Promise<void> {
  const report = examine();
  if (options.json) return printJson({ pith: version(), node: process.version, ...report });
  const { memory, quota, reason } = report;
  const bandwidth = Object.entries(report.bandwidth_gbps).map(([n, gb]) => `${figure(gb)} GB/s with ${n}`);
  printTable([
    ["pith", `${version()} on Node ${process.version}, ${process.platform}-${process.arch}`],
    [
      "processor",
      `${report.processor}, ${report.cores} cores usable${quota === undefined ? "" : ` (quota ${figure(quota)})`}`,
    ],
    ["features", report.features.join(" ") || "unknown"],
    ["native addon", reason ?? `loads, kernels ${report.isas.join(", ")}`],
    ["backend", `${report.backend}, kernels ${report.kernels}`],
    ["threads", String(report.threads)],
    ["huge pages", report.hugepages ?? "unknown"],
    [
      "memory",
      `${bytes(memory.total)}, ${bytes(memory.available)} available${memory.limit === undefined ? "" : `, limited to ${bytes(memory.limit)}`}`,
    ],
    [
      "bandwidth",
      bandwidth.length > 0 ? `${bandwidth.join(", ")} threads` : "not measured (native backend only)",
    ],
  ]);
}

// A page that needs nothing else: no script, readable in light and in dark. What reports are made of.

import { cpus } from "node:os";
import type { Backend } from "../engine/backend.ts";
import { version } from "../formats/version.ts";
import { escapeXml } from "./svg.ts";

/** The page of a report. Sections are HTML; empty ones are left out. @param style more of it */
export function htmlPage(title: string, sections: readonly string[], style = ""): string {
  return `<!doctype html>
<html lang="en">
<meta charset="utf-8">
<meta name="viewport" content="width=device-width, initial-scale=1">
<title>${escapeXml(title)}</title>
<style>${STYLE}${style}</style>
${sections.filter((section) => section !== "").join("\n")}
</html>
`;
}

/** Names and values, a row for each. */
export function htmlRows(list: readonly (readonly [string, string])[]): string {
  return `<table>${list.map(([name, value]) => `<tr><th>${escapeXml(name)}</th><td>${escapeXml(value)}</td></tr>`).join("")}</table>`;
}

/** A table with a line of names over it. */
export function htmlTable(names: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[], tag: "th" | "td") =>
    `<tr>${cells.map((cell) => `<${tag}>${escapeXml(cell)}</${tag}>`).join("")}</tr>`;
  return `<table class="wide">${line(names, "th")}${rows.map((row) => line(row, "td")).join("")}</table>`;
}

/** Nested settings as rows: "data.train.jsonl". */
export function settingRows(value: unknown, name = ""): [string, string][] {
  if (value === undefined) return [];
  if (Array.isArray(value) || typeof value !== "object" || value === null)
    return [[name, typeof value === "string" ? value : JSON.stringify(value)]];
  return Object.entries(value).flatMap(([key, inner]) =>
    settingRows(inner, name === "" ? key : `${name}.${key}`),
  );
}

/** The program, the machine and the time. */
export function madeWith({ name, kernels, threads }: Pick<Backend, "name" | "kernels" | "threads">) {
  return [
    ["pith", version()],
    ["Node", `${process.version} on ${process.platform} ${process.arch}`],
    ["Processor", `${cpus()[0]?.model ?? "unknown"}, ${threads} threads, ${name} ${kernels}`],
    ["Written", new Date().toISOString()],
  ] as [string, string][];
}

/** 1234567 -> "1,234,567" */
export function grouped(value: number): string {
  return Math.round(value)
    .toString()
    .replace(/\B(?=(\d{3})+$)/g, ",");
}

/** A mean negative log-likelihood, and what it is as a perplexity. */
export function nats(loss: number): string {
  return `${loss.toFixed(4)} (perplexity ${Number(Math.exp(loss).toPrecision(4))})`;
}

/** A log ratio of perplexities as a percentage: "+1.23 % ± 0.04". */
export function lost(log_ratio: number, error: number): string {
  const percent = 100 * Math.expm1(log_ratio);
  return `${percent < 0 ? "" : "+"}${percent.toFixed(2)} % ± ${(100 * Math.exp(log_ratio) * error).toFixed(2)}`;
}

/** 75 -> "1 min 15 s" */
export function duration(seconds: number): string {
  if (seconds < 60) return `${seconds.toFixed(1)} s`;
  const minutes = Math.floor(seconds / 60);
  return minutes < 60
    ? `${minutes} min ${Math.round(seconds % 60)} s`
    : `${Math.floor(minutes / 60)} h ${minutes % 60} min`;
}

const STYLE = `
:root { color-scheme: light dark; --back: #ffffff; --text: #1d2127; --dim: #69707a; --grid: #e6e8eb;
  --series-1: #2563c9; --series-2: #d9480f; --series-3: #2b8a3e; --series-4: #7048c8; }
@media (prefers-color-scheme: dark) { :root { --back: #14171b; --text: #e4e7ea; --dim: #949ca6; --grid: #2a2f36;
  --series-1: #74a5f5; --series-2: #ff9a62; --series-3: #69c880; --series-4: #b197fc; } }
body { max-width: 46rem; margin: 2rem auto; padding: 0 1rem; background: var(--back); color: var(--text);
  font: 15px/1.5 system-ui, sans-serif; }
h1 { font-size: 1.4rem; } h2 { font-size: 1.1rem; margin-top: 2rem; }
table { border-collapse: collapse; width: 100%; }
th, td { text-align: left; vertical-align: top; padding: .25rem .5rem .25rem 0; border-bottom: 1px solid var(--grid);
  overflow-wrap: anywhere; }
th { font-weight: normal; color: var(--dim); width: 14rem; } .wide th { width: auto; }
figure { margin: 1.5rem 0; }
svg { width: 100%; height: auto; display: block; }
svg text { fill: var(--dim); font: 11px system-ui, sans-serif; }
svg .title { fill: var(--text); font-size: 13px; font-weight: 600; }
svg .grid { stroke: var(--grid); }
svg .line { fill: none; stroke-width: 1.8; stroke-linejoin: round; }
svg .faint { opacity: .28; stroke-width: 1; }
${[1, 2, 3, 4].map((n) => `svg .s${n} { stroke: var(--series-${n}); } svg .dot.s${n} { fill: var(--series-${n}); stroke: none; }`).join("\n")}
`;

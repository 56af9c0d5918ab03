/** pith/compare: models side by side: size, speed, latency, energy, quality, where the data goes. */

export { compare } from "./compare.ts";
export { compareHtml, compareMarkdown } from "./report.ts";
export { notesOf, summaries } from "./summary.ts";
export { type Cell, type Section, type TableRow, tableOf } from "./table.ts";
export type * from "./types.ts";

// What verbs print with: text on stdout, everything about it on stderr; nothing a file names can move the cursor.

import { once } from "node:events";
import { version } from "../formats/version.ts";
import { oneLine, visible } from "../formats/visible.ts";

export { oneLine, version, visible };

/** Writes text of a model. A terminal gets no control characters but line ends and tabs; a pipe gets every byte. */
export async function writeText(text: string): Promise<void> {
  if (!process.stdout.write(process.stdout.isTTY ? visible(text) : text)) await once(process.stdout, "drain");
}

/** A line about the text, on stderr. */
export function note(line: string): void {
  process.stderr.write(`${visible(line)}\n`);
}

export function printJson(value: unknown): void {
  const plain = (_: string, v: unknown) =>
    typeof v === "bigint" ? v.toString() : v === -Infinity ? null : v;
  // Lists of numbers (ids) on one line.
  const text = JSON.stringify(value, plain, 2).replace(
    /\[\s+([-+\d.e,\s]+?)\s+\]/g,
    (_, list: string) => `[${list.replace(/\s+/g, " ")}]`,
  );
  process.stdout.write(`${text}\n`);
}

/** Lines of "name  value", the names in a column. */
export function printTable(rows: readonly (readonly [string, string])[]): void {
  const width = Math.max(...rows.map(([name]) => name.length));
  for (const [name, value] of rows) process.stdout.write(`${name.padEnd(width)}  ${oneLine(value)}\n`);
}

/** 1234567 -> "1,234,567"; small numbers keep three digits. */
export function figure(value: number): string {
  if (Math.abs(value) < 100) return String(Number(value.toPrecision(3)));
  return value.toFixed(0).replace(/\B(?=(\d{3})+$)/g, ",");
}

export function bytes(value: number): string {
  if (value < 2 ** 20) return `${figure(value / 1024)} KiB`;
  return value < 2 ** 30 ? `${figure(value / 2 ** 20)} MiB` : `${(value / 2 ** 30).toFixed(2)} GiB`;
}

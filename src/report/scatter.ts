// Points with names as static SVG: one thing against another, the horizontal one by its logarithm. And spreads of times.

import {
  axes,
  BOTTOM,
  escapeXml,
  HEIGHT,
  LEFT,
  RIGHT,
  round,
  shortNumber,
  TOP,
  ticks,
  WIDTH,
} from "./svg.ts";

export interface NamedPoint {
  readonly name: string;
  readonly x: number;
  readonly y: number;
  /** 95 % interval of y. */
  readonly low?: number;
  readonly high?: number;
  /** 1 to 4: the page's --series-n. */
  readonly colour: 1 | 2 | 3 | 4;
}

export interface Scatter {
  readonly title: string;
  readonly x: string;
  readonly points: readonly NamedPoint[];
}

/** 1, 2 or 5 times powers of ten that cover positive values; powers of ten alone where these are many. */
export function logTicks(low: number, high: number): number[] {
  const from = Math.floor(Math.log10(low));
  const to = Math.ceil(Math.log10(high));
  const steps = to - from > 3 ? [1] : [1, 2, 5];
  const all = Array.from({ length: to - from + 1 }, (_, i) =>
    steps.map((step) => Number((step * 10 ** (from + i)).toPrecision(3))),
  ).flat();
  const first = all.findLastIndex((value) => value <= low);
  const last = all.findIndex((value) => value >= high);
  return all.slice(Math.max(0, first), last < 0 ? undefined : Math.max(last, first + 1) + 1);
}

/** A chart as an SVG element; an empty string for fewer than two points. */
export function scatterChart({ title, x, points }: Scatter): string {
  const shown = points.filter((point) => point.x > 0 && Number.isFinite(point.x) && Number.isFinite(point.y));
  if (shown.length < 2) return "";
  const xs = shown.map((point) => point.x);
  const ys = shown.flatMap(({ y, low = y, high = y }) => [low, high]);
  const xTicks = logTicks(Math.min(...xs), Math.max(...xs));
  const yTicks = ticks(Math.min(...ys), Math.max(...ys), 5);
  const px = logScale(xTicks[0]!, xTicks.at(-1)!);
  const [y0, y1] = [yTicks[0]!, yTicks.at(-1)!];
  const py = (value: number) => round(HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM));
  const parts = axes({ title, x, xTicks, yTicks, px, py });
  for (const { x, y, low, high, colour } of shown) {
    if (low !== undefined && high !== undefined)
      parts.push(
        `<line class="line s${colour} faint" x1="${px(x)}" x2="${px(x)}" y1="${py(low)}" y2="${py(high)}"/>`,
      );
    parts.push(`<circle class="dot s${colour}" cx="${px(x)}" cy="${py(y)}" r="4.5"/>`);
  }
  parts.push(...names(shown.map(({ name, x, y, colour }) => ({ name, colour, x: px(x), y: py(y) }))));
  const label = escapeXml(`${title}: ${shown.map(({ name }) => name).join(", ")}`);
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label}">${parts.join("")}</svg>`;
}

function logScale(low: number, high: number): (value: number) => number {
  const [a, b] = [Math.log(low), Math.log(high)];
  return (value) => round(LEFT + ((Math.log(value) - a) / (b - a)) * (WIDTH - LEFT - RIGHT));
}

const LINE = 13;

/** Names beside their points, where no other name and no other point lies. */
function names(points: readonly { name: string; colour: number; x: number; y: number }[]): string[] {
  const taken = points.map(({ x, y }) => ({ x0: x - 5, x1: x + 5, y0: y - 5, y1: y + 5 }));
  return points.map(({ name, colour, x, y }) => {
    const text = short(name, 40);
    const width = 6 * text.length;
    const places = [0, -LINE, LINE, -2 * LINE, 2 * LINE, -3 * LINE, 3 * LINE].flatMap((dy) => [
      { anchor: "start", at: x + 9, x0: x + 8, x1: x + 10 + width, y: y + 4 + dy },
      { anchor: "end", at: x - 9, x0: x - 10 - width, x1: x - 8, y: y + 4 + dy },
    ]);
    const free = places.find(
      ({ x0, x1, y }) =>
        x0 >= LEFT &&
        x1 <= WIDTH - RIGHT &&
        y - 9 >= TOP - 6 &&
        y + 3 <= HEIGHT - BOTTOM &&
        !taken.some((box) => x0 < box.x1 && x1 > box.x0 && y - 9 < box.y1 && y + 3 > box.y0),
    );
    const { anchor, at, x0, x1, y: line } = free ?? places[x + 10 + width <= WIDTH - RIGHT ? 0 : 1]!;
    taken.push({ x0, x1, y0: line - 9, y1: line + 3 });
    return `<text class="name s${colour}" text-anchor="${anchor}" x="${round(at)}" y="${round(line)}">${escapeXml(text)}</text>`;
  });
}

const short = (text: string, length: number) =>
  text.length > length ? `${text.slice(0, length - 1)}…` : text;

export interface Spread {
  readonly name: string;
  /** Positive values, sorted. */
  readonly values: readonly number[];
  /** Values that are marked, with what they are: "p99". */
  readonly marks: readonly { readonly name: string; readonly value: number }[];
  readonly colour: 1 | 2 | 3 | 4;
}

export interface SpreadChart {
  readonly title: string;
  readonly x: string;
  readonly spreads: readonly Spread[];
  /** A value for comparison: a line through all of them. */
  readonly line?: { readonly value: number; readonly name: string };
}

const ROW = 62;
const COLUMNS = 96;

/** How values are spread, one row under the other: hills over an axis of logarithms, higher where more values lie. */
export function spreadChart({ title, x, spreads, line }: SpreadChart): string {
  const shown = spreads.filter(({ values }) => values.length > 0 && values[0]! > 0);
  if (shown.length === 0) return "";
  const all = [...shown.flatMap(({ values }) => [values[0]!, values.at(-1)!]), ...(line ? [line.value] : [])];
  const xTicks = logTicks(Math.min(...all), Math.max(...all));
  const px = logScale(xTicks[0]!, xTicks.at(-1)!);
  const bottom = TOP + 12 + ROW * shown.length;
  const height = bottom + BOTTOM;
  const parts = [`<text class="title" x="${LEFT}" y="18">${escapeXml(title)}</text>`];
  for (const value of xTicks)
    parts.push(
      `<line class="grid" x1="${px(value)}" x2="${px(value)}" y1="${TOP + 12}" y2="${bottom}"/>`,
      `<text class="tick" text-anchor="middle" x="${px(value)}" y="${bottom + 16}">${shortNumber(value)}</text>`,
    );
  if (line) {
    const at = px(line.value);
    const left = at > WIDTH / 2;
    parts.push(
      `<line class="limit" x1="${at}" x2="${at}" y1="${TOP + 4}" y2="${bottom}"/>`,
      `<text class="name" text-anchor="${left ? "end" : "start"}" x="${left ? at - 5 : at + 5}" y="${TOP + 8}">${escapeXml(line.name)}</text>`,
    );
  }
  shown.forEach(({ name, values, marks, colour }, i) => {
    const base = TOP + 12 + ROW * (i + 1);
    parts.push(
      `<path class="hill s${colour}" d="${hill(values, px, base)}"/>`,
      `<text class="name" x="${LEFT}" y="${base - ROW + 13}">${escapeXml(short(name, 60))}</text>`,
    );
    let right = -Infinity;
    for (const mark of marks) {
      const at = px(mark.value);
      parts.push(`<line class="line s${colour}" x1="${at}" x2="${at}" y1="${base - 9}" y2="${base}"/>`);
      if (at - 12 < right) continue;
      right = at + 12;
      parts.push(
        `<text class="tick" text-anchor="middle" x="${at}" y="${base - 12}">${escapeXml(mark.name)}</text>`,
      );
    }
    parts.push(`<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${base}" y2="${base}"/>`);
  });
  parts.push(
    `<text class="tick" text-anchor="end" x="${WIDTH - RIGHT}" y="${height - 4}">${escapeXml(x)}</text>`,
  );
  const label = escapeXml(`${title}: ${shown.map(({ name }) => name).join(", ")}`);
  return `<svg viewBox="0 0 ${WIDTH} ${height}" role="img" aria-label="${label}">${parts.join("")}</svg>`;
}

/** Counts in columns of equal width, each the mean of it and its neighbours, the highest as high as a row has room. */
function hill(values: readonly number[], px: (value: number) => number, base: number): string {
  const width = (WIDTH - LEFT - RIGHT) / COLUMNS;
  const counts = new Array<number>(COLUMNS).fill(0);
  for (const value of values)
    counts[Math.min(COLUMNS - 1, Math.max(0, Math.floor((px(value) - LEFT) / width)))]!++;
  const smooth = counts.map((count, i) => ((counts[i - 1] ?? 0) + 2 * count + (counts[i + 1] ?? 0)) / 4);
  const top = Math.max(...smooth);
  // By the square root, so that a few late answers can be seen.
  const points = smooth.map((count, i) => {
    const y = round(base - Math.sqrt(count / top) * (ROW - 24));
    return `L${round(LEFT + i * width + width / 2)} ${y}`;
  });
  return `M${LEFT} ${base}${points.join("")}L${WIDTH - RIGHT} ${base}Z`;
}

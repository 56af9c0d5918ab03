// Line charts as static SVG: axes at round numbers, a grid, a legend. Colours come from the page's CSS variables.

export interface Series {
  readonly name: string;
  readonly points: readonly (readonly [x: number, y: number])[];
  /** `line`: as it is. `smooth`: faint as it is, and a moving average over it. `dots`: a line with its points marked. */
  readonly kind?: "line" | "smooth" | "dots";
  /** 1 to 4: the page's --series-n. */
  readonly colour: 1 | 2 | 3 | 4;
}

export interface Chart {
  readonly title: string;
  readonly x: string;
  readonly series: readonly Series[];
  /** Smallest value that the y axis must show. */
  readonly from?: number;
}

/** Of every chart, in units of its view box: its size, and what lies around the part that is drawn in. */
export const [WIDTH, HEIGHT] = [640, 260];
export const [LEFT, RIGHT, TOP, BOTTOM] = [58, 14, 34, 34];
/** Points that a line shows: more would lie in one pixel. */
const COLUMNS = 280;
/** Share of the points that the moving average spans. */
const SPAN = 0.02;

/** Round numbers, about `count` of them, that cover `[low, high]`. */
export function ticks(low: number, high: number, count: number): number[] {
  const span = high - low || Math.abs(high) || 1;
  const power = 10 ** Math.floor(Math.log10(span / count));
  const step = power * ([1, 2, 5, 10].find((k) => k * power >= span / count) ?? 10);
  const first = Math.floor(low / step + 1e-9);
  const last = Math.max(first + 1, Math.ceil(high / step - 1e-9));
  return Array.from({ length: last - first + 1 }, (_, i) => Number(((first + i) * step).toPrecision(12)));
}

/** 12345 -> "12k", 0.00012 -> "1.2e-4" */
export function shortNumber(value: number): string {
  const size = Math.abs(value);
  if (size === 0) return "0";
  if (size >= 1e6) return `${Number((value / 1e6).toPrecision(4))}M`;
  if (size >= 1e4) return `${Number((value / 1e3).toPrecision(4))}k`;
  if (size < 1e-3) return value.toExponential().replace(/(\.\d{1,2})\d*e/, "$1e");
  return String(Number(value.toPrecision(4)));
}

/** Means over the neighbours of each value, as many on either side. */
export function smoothed(values: readonly number[]): number[] {
  const sums = [0];
  for (const value of values) sums.push(sums.at(-1)! + value);
  const reach = Math.round((SPAN * values.length) / 2);
  return values.map((_, i) => {
    const side = Math.min(reach, i, values.length - 1 - i);
    return (sums[i + side + 1]! - sums[i - side]!) / (2 * side + 1);
  });
}

export function escapeXml(text: string): string {
  const names: Record<string, string> = { "&": "&amp;", "<": "&lt;", ">": "&gt;", '"': "&quot;" };
  return text.replace(/[&<>"]/g, (c) => names[c]!);
}

/** A chart as an SVG element; an empty string when there is nothing to draw. */
export function lineChart({ title, x, series, from }: Chart): string {
  const finite = series
    .map((s) => ({ ...s, points: s.points.filter(([, y]) => Number.isFinite(y)) }))
    .filter(({ points }) => points.length > 0);
  if (finite.length === 0) return "";
  const xs = finite.flatMap(({ points }) => [points[0]![0], points.at(-1)![0]]);
  const ys = finite.flatMap(({ points, kind }) => range(points, kind));
  const yTicks = ticks(Math.min(...ys, from ?? Infinity), Math.max(...ys), 5);
  const [x0, x1] = [Math.min(...xs), Math.max(...xs)];
  const xTicks = ticks(x0, x1, 8).filter((value) => value >= x0 && value <= x1);
  const [y0, y1] = [yTicks[0]!, yTicks.at(-1)!];
  const px = (value: number) => round(LEFT + ((value - x0) / (x1 - x0 || 1)) * (WIDTH - LEFT - RIGHT));
  // What lies above the axis is drawn at its end.
  const py = (value: number) =>
    round(Math.max(TOP, HEIGHT - BOTTOM - ((value - y0) / (y1 - y0)) * (HEIGHT - TOP - BOTTOM)));

  const parts = axes({ title, x, xTicks, yTicks, px, py });
  for (const { points, kind, colour } of finite) {
    const path = (list: readonly (readonly [number, number])[]) =>
      list.map(([a, b], i) => `${i === 0 ? "M" : "L"}${px(a)} ${py(b)}`).join("");
    if (kind === "smooth") {
      parts.push(`<path class="line s${colour} faint" d="${path(extremes(points))}"/>`);
      const average = smoothed(points.map(([, y]) => y));
      parts.push(
        `<path class="line s${colour}" d="${path(thinned(points.map(([a], i) => [a, average[i]!])))}"/>`,
      );
    } else parts.push(`<path class="line s${colour}" d="${path(extremes(points))}"/>`);
    if (kind === "dots" || points.length === 1)
      for (const [a, b] of points)
        parts.push(`<circle class="dot s${colour}" cx="${px(a)}" cy="${py(b)}" r="3"/>`);
  }
  parts.push(...legend(finite));
  const label = escapeXml(`${title}: ${finite.map(({ name }) => name).join(", ")}`);
  return `<svg viewBox="0 0 ${WIDTH} ${HEIGHT}" role="img" aria-label="${label}">${parts.join("")}</svg>`;
}

/** Title, grid and the numbers at it. */
export function axes(chart: {
  readonly title: string;
  readonly x: string;
  readonly xTicks: readonly number[];
  readonly yTicks: readonly number[];
  readonly px: (value: number) => number;
  readonly py: (value: number) => number;
}): string[] {
  const { title, x, xTicks, yTicks, px, py } = chart;
  const parts = [`<text class="title" x="${LEFT}" y="18">${escapeXml(title)}</text>`];
  for (const value of yTicks)
    parts.push(
      `<line class="grid" x1="${LEFT}" x2="${WIDTH - RIGHT}" y1="${py(value)}" y2="${py(value)}"/>`,
      `<text class="tick" text-anchor="end" x="${LEFT - 7}" y="${py(value) + 4}">${shortNumber(value)}</text>`,
    );
  for (const value of xTicks)
    parts.push(
      `<line class="grid" x1="${px(value)}" x2="${px(value)}" y1="${TOP}" y2="${HEIGHT - BOTTOM}"/>`,
      `<text class="tick" text-anchor="middle" x="${px(value)}" y="${HEIGHT - BOTTOM + 16}">${shortNumber(value)}</text>`,
    );
  parts.push(
    `<text class="tick" text-anchor="end" x="${WIDTH - RIGHT}" y="${HEIGHT - 4}">${escapeXml(x)}</text>`,
  );
  return parts;
}

/** Names of the lines, at the right of the title; none where there is one line only. */
function legend(series: readonly Series[]): string[] {
  if (series.length < 2) return [];
  let right = WIDTH - RIGHT;
  return [...series].reverse().flatMap(({ name, colour }) => {
    const start = right - 7 * name.length;
    right = start - 34;
    return [
      `<line class="line s${colour}" x1="${start - 22}" x2="${start - 6}" y1="14" y2="14"/>`,
      `<text class="tick" x="${start}" y="18">${escapeXml(name)}</text>`,
    ];
  });
}

/** What the y axis shows of a line: of a noisy one without the outermost hundredth above, which would flatten the rest. */
function range(points: Series["points"], kind: Series["kind"]): number[] {
  const sorted = points.map(([, y]) => y).sort((a, b) => a - b);
  const cut = kind === "smooth" ? Math.ceil(sorted.length * 0.99) - 1 : sorted.length - 1;
  return [sorted[0]!, sorted[Math.max(0, cut)]!];
}

/** At most two points a column: its lowest and highest, in their order. */
function extremes(points: Series["points"]): Series["points"] {
  if (points.length <= 2 * COLUMNS) return points;
  return columns(points).flatMap((column) => {
    const low = column.reduce((a, b) => (b[1] < a[1] ? b : a));
    const high = column.reduce((a, b) => (b[1] > a[1] ? b : a));
    return low[0] < high[0] ? [low, high] : [high, low];
  });
}

/** The last point of each column. */
function thinned(points: Series["points"]): Series["points"] {
  return points.length <= COLUMNS ? points : columns(points).map((column) => column.at(-1)!);
}

function columns(points: Series["points"]): Series["points"][] {
  return Array.from({ length: COLUMNS }, (_, i) =>
    points.slice(Math.floor((i * points.length) / COLUMNS), Math.floor(((i + 1) * points.length) / COLUMNS)),
  );
}

/** A place in a chart, to a tenth of a unit. */
export const round = (value: number): number => Math.round(value * 10) / 10;

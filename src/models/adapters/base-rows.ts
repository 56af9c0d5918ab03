// The rows of a parameter of an opened model as f32, in pieces; what DoRA and merging read of the base.

import { dequantize, weightBytes } from "../../engine/weights.ts";
import { asWeight, type TensorInfo } from "../../formats/index.ts";
import { interleavedHeads, sourceRow } from "../gguf-names.ts";
import type { OpenedModel } from "../open.ts";
import { parameterRows, type RowSource } from "../rows.ts";

const PIECE_VALUES = 2 ** 18;

export interface RowPiece {
  /** Number of its first row, in the order of the file. */
  readonly first: number;
  readonly count: number;
  readonly values: Float32Array;
}

export interface BaseRows {
  /** Rows of the matrix, or elements of a vector. */
  readonly count: number;
  /** Rows in the order of the file. */
  pieces(signal?: AbortSignal): AsyncGenerator<RowPiece, void, undefined>;
  /** Hugging Face's number of row `row` of the file. */
  hfRow(row: number): number;
}

/** @param name Hugging Face's, of a parameter that the model has */
export function baseRows(model: OpenedModel, name: string): BaseRows {
  const source = parameterRows(model).find((rows) => rows.name === name)!;
  const count = source.shape[0] ?? 1;
  const cols = source.shape.length > 1 ? source.shape.at(-1)! : 1;
  return {
    count,
    hfRow: hfRows(source, model),
    async *pieces(signal) {
      const step = Math.max(1, Math.floor(PIECE_VALUES / cols));
      for (let first = 0; first < count; first += step) {
        signal?.throwIfAborted();
        const rows = Math.min(step, count - first);
        const values = new Float32Array(rows * cols);
        dequantize(source.type, await source.read(first, rows), values);
        yield { first, count: rows, values };
      }
    },
  };
}

/** File row -> Hugging Face's row, of a parameter whose heads may lie interleaved. */
export function hfRows(
  source: RowSource,
  { definition, config }: Pick<OpenedModel, "definition" | "config">,
): (row: number) => number {
  const heads = source.order === "gguf" ? interleavedHeads(definition.gguf, config, source.name) : undefined;
  if (heads === undefined) return (row) => row;
  const rows = source.shape[0]!;
  return (row) => sourceRow(row, rows, heads, "gguf");
}

/** Rows of a tensor, of `cols` values each, in the order asked for. */
export async function tensorRows(
  tensor: TensorInfo,
  cols: number,
  rows: readonly number[],
): Promise<Float32Array> {
  const { type, source, offset } = asWeight(tensor);
  const width = weightBytes(type, cols);
  const values = new Float32Array(rows.length * cols);
  for (let i = 0; i < rows.length; ) {
    let end = i + 1;
    while (end < rows.length && rows[end] === rows[end - 1]! + 1) end++;
    const bytes = await source.read(offset + rows[i]! * width, (end - i) * width);
    dequantize(type, bytes, values.subarray(i * cols, end * cols));
    i = end;
  }
  return values;
}

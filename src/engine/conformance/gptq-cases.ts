/** Cases of GPTQ's rows: a matrix of moments and its triangle, of one block of columns and of more. */
import { type Case, type Operand, row, state, x } from "./operands.ts";

/** 2^(-|i - j| / 4), of the inputs of which every channel resembles its neighbours. */
const moments = (K: number): Operand => ({
  kind: "weight",
  shape: [K, K],
  types: ["dense"],
  values: (i) => 2 ** (-Math.abs(Math.floor(i / K) - (i % K)) / 4),
});
/** A lower triangle with a diagonal from 1 to 2. */
const triangle = (K: number): Operand => ({
  kind: "weight",
  shape: [K, K],
  types: ["dense"],
  values: (i) => {
    const [r, c] = [Math.floor(i / K), i % K];
    return r === c ? 1 + ((r * 31) % 17) / 17 : r > c ? (((r * 7 + c * 13) % 19) - 9) / 60 : 0;
  },
});
const order = (K: number): Operand => ({ kind: "ids", shape: [K], values: (i) => (i * 7 + 3) % K });
const damping: Operand = { kind: "x", shape: [1], values: () => 0.03 };
const steps = (groups: number): Operand => ({
  kind: "x",
  shape: ["T", groups],
  values: (i) => (i % 11 === 5 ? 0 : (((i * 37) % 23) - 4.5) / 40),
});

export const GPTQ_CASES: readonly Case[] = [
  ...[5, 97, 160].map((K) =>
    row("cholesky", [state(K, K), moments(K), order(K), damping], {}, `${K} columns`, false),
  ),
  row(
    "cholesky",
    [state(31, 31), { ...moments(31), values: () => 1 }, order(31), { ...damping, values: () => 0 }],
    {},
    "of rank one",
    false,
  ),
  ...[
    { K: 8, groups: 2, levels: 3 },
    { K: 64, groups: 2, levels: 256 },
    { K: 288, groups: 9, levels: 16 },
    { K: 40, groups: 5, levels: 4 },
  ].map(({ K, groups, levels }) =>
    row(
      "gptq_round",
      [x("T", K), steps(groups), x("T", groups), triangle(K), order(K)],
      { levels },
      `${K} columns in ${groups} groups, ${levels} levels`,
    ),
  ),
];

/** Cases of the distillation losses, and of the heads with them. */
import { DIVERGENCES, type DistillationAttrs } from "../ops/distillation.ts";
import type { Shape } from "../tensor.ts";
import { ALL, type Case, lowCase, type Operand, row, state, targets, weight, x } from "./operands.ts";

/** Logits from -20 to 20. */
const steep = (...shape: Shape): Operand => ({
  kind: "x",
  shape,
  values: (i) => (((i * 37 + 5) % 101) - 50) / 2.5,
});
/** Six different tokens of 77 for each row, the last sometimes missing, of probability 0.3, 0.15, 0.075, ... */
const named: Operand = {
  kind: "ids",
  shape: ["T", 6],
  values: (i) => (i % 6 === 5 && i % 4 === 1 ? -1 : ((i % 6) * 13 + Math.floor(i / 6) * 5) % 77),
};
const logp: Operand = { kind: "x", shape: ["T", 6], values: (i) => Math.log(0.3 / 2 ** (i % 6)) };
/** The same of 50. */
const fewer: Operand = {
  ...named,
  values: (i) => (i % 6 === 5 && i % 4 === 1 ? -1 : ((i % 6) * 7 + Math.floor(i / 6) * 5) % 50),
};
const HEADS = {
  ...{ scale: 0.3, cap: 0, teacher_scale: 0.2, teacher_cap: 0, ce_weight: 0.4, kd_weight: 0.8 },
  ...{ masked: true, grad: false },
};
const BLOCKS_OF_32 = ["q8_0", "q4_0", "q5_1", "iq4_nl", "mxfp4", "nf4"] as const;
const distillations = DIVERGENCES.map((loss, i): [DistillationAttrs, string] => {
  const temperature = [1, 2, 1.5, 1, 0.7][i]!;
  const attrs = { loss, beta: 0.3, temperature, scale_temperature: i % 2 === 1 };
  return [attrs, `${loss} at temperature ${temperature}`];
});

export const DISTILLATION_CASES: readonly Case[] = [
  ...distillations.flatMap(([attrs, label]) => [
    row("distillation_loss", [x("T", 77), steep("T", 77)], attrs, label),
    row("distillation_slopes", [x("T", 77), steep("T", 77)], attrs, label),
    row("distillation_topk_loss", [x("T", 77), named, logp], attrs, label),
    row("distillation_topk_slopes", [x("T", 77), named, logp], attrs, label),
  ]),
  ...distillations.flatMap(([divergence, label], i) => {
    const [scales, heads] = [
      { ...divergence, ...HEADS },
      { ...divergence, ...HEADS, scale: 0.4, cap: 6, teacher_scale: 0.5, teacher_cap: 8 },
    ];
    const types = i === 0 ? ALL : (["dense"] as const);
    const student = [x("T", 32), weight(50, 32, types), targets];
    const teacher = [x("T", 64), weight(50, 64, i === 1 ? BLOCKS_OF_32 : i === 2 ? ALL : ["dense"])];
    const few = [fewer, logp];
    const both = { grad: true, sum: true };
    const held = state(50, 32);
    return [
      row("linear_distillation", [...student, ...teacher], { ...scales, grad: i < 2 }, label, false),
      row(
        "linear_distillation",
        [...student, ...teacher, held],
        { ...heads, ...both },
        `both, ${label}`,
        false,
      ),
      row("linear_distillation", [...student, ...few], { ...heads, grad: true }, `named, ${label}`, false),
      row(
        "linear_distillation",
        [...student, ...few, held],
        { ...scales, ...both, masked: false },
        `named, both, ${label}`,
        false,
      ),
      row(
        "linear_distillation_grad",
        [...student, ...teacher, x("T", 1), x("T", 1)],
        { ...heads, by: "w" },
        label,
        false,
      ),
      row(
        "linear_distillation_grad",
        [...student, ...few, x("T", 1), x("T", 1)],
        { ...scales, by: "x" },
        `named, ${label}`,
        false,
      ),
    ];
  }),
  ...([61, 37] as const).flatMap((W, i) => {
    const operands = [
      x("T", 32),
      weight(50, 32, ["dense"]),
      targets,
      x("T", 64),
      weight(W, 64, ["dense", "q8_0"]),
    ];
    const [attrs, label] = distillations[i]!;
    return [
      row(
        "linear_distillation",
        [...operands, state(50, 32)],
        { ...attrs, ...HEADS, ...{ grad: true, sum: true, cap: 6 * i } },
        `${W} tokens, ${label}`,
        false,
      ),
    ];
  }),
  lowCase(
    "linear_distillation",
    [x("T", 40), weight(50, 40, ["dense"]), targets, x("T", 64), weight(50, 64), state(50, 40)],
    { ...distillations[2]![0], ...HEADS, grad: true, sum: true },
  ),
];

/** Cases of weights as codes and scales. */
import { type Case, type Operand, row, weight, x } from "./operands.ts";

/** From -2.3 to 17.7: between whole numbers, and beyond both ends of 0 .. 15. */
const latent = (...shape: number[]): Operand => ({
  kind: "x",
  shape,
  values: (i) => ((i * 37 + 5) % 101) / 5 - 2.3,
});
const RANGE = [0, 15] as const;

export const QUANTIZATION_CASES: readonly Case[] = [
  ...([true, false] as const).flatMap((min) => {
    const groups = (n: number) => [x(21, n), ...(min ? [x(21, n)] : [])];
    const label = min ? "with minima" : "without minima";
    return [
      row(
        "scale_groups",
        [weight(21, 96, ["dense", "q8_0", "q4_0"]), ...groups(3)],
        { group: 32 },
        label,
        false,
      ),
      row(
        "scale_groups",
        [latent(21, 48), ...groups(3)],
        { group: 16, range: RANGE },
        `rounded, ${label}`,
        false,
      ),
      row(
        "scale_groups_grad",
        [weight(21, 96, ["dense", "q8_0", "q4_0"]), ...groups(3), x(21, 96)],
        { group: 32 },
        label,
        false,
      ),
      row(
        "scale_groups_grad",
        [latent(21, 40), ...groups(5), x(21, 40)],
        { group: 8, range: RANGE },
        `rounded, ${label}`,
        false,
      ),
    ];
  }),
  row("round_half", [x("T", 37)]),
];

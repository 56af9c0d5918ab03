// The learning rate of every step.

export type ScheduleName = "cosine" | "linear" | "constant";

export interface Schedule {
  /** The highest, reached when the warm-up ends. */
  readonly lr: number;
  /** How it falls to `min_lr` over the steps after the warm-up. Default "cosine". */
  readonly schedule?: ScheduleName;
  /** Steps in which it rises from 0; below 1: their share of all. Default 0.03. */
  readonly warmup_steps?: number;
  /** Default 0. */
  readonly min_lr?: number;
}

/** Steps of warm-up among `steps`. */
export function warmupSteps({ warmup_steps = 0.03 }: Schedule, steps: number): number {
  return Math.min(steps, warmup_steps < 1 ? Math.ceil(warmup_steps * steps) : Math.round(warmup_steps));
}

/**
 * Learning rate of step `i` of `steps`, counted from 0: lr (i + 1) / (warm-up + 1) at first, then with p from 0 to 1
 * min_lr + (lr - min_lr) (1 + cos πp) / 2, or (1 - p), or lr.
 */
export function learningRate(options: Schedule, i: number, steps: number): number {
  const { lr, schedule = "cosine", min_lr = 0 } = options;
  const warmup = warmupSteps(options, steps);
  if (i < warmup) return (lr * (i + 1)) / (warmup + 1);
  const p = (i - warmup) / Math.max(1, steps - warmup);
  if (schedule === "constant") return lr;
  return min_lr + (lr - min_lr) * (schedule === "linear" ? 1 - p : (1 + Math.cos(Math.PI * p)) / 2);
}

/** @throws {RangeError} naming the setting, the value found and the value wanted. */
export function checkSchedule({ lr, warmup_steps = 0, min_lr = 0 }: Schedule): void {
  const wrong = (name: string, value: number, wanted: string) => {
    throw new RangeError(`Cannot train with ${name} ${value}: wanted ${wanted}`);
  };
  if (!(lr > 0 && Number.isFinite(lr))) wrong("lr", lr, "a number above 0");
  if (!(warmup_steps >= 0 && Number.isFinite(warmup_steps)))
    wrong("warmup_steps", warmup_steps, "0 or more steps, or a share below 1");
  if (!(min_lr >= 0 && min_lr <= lr)) wrong("min_lr", min_lr, `0 to lr ${lr}`);
}

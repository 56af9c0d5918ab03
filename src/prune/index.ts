/** pith/prune: a smaller model of the same type. */
export { type PruneEvent, type PruneOptions, type PruneResult, type PruneState, prune } from "./prune.ts";
export type { Sizes } from "./sizes.ts";

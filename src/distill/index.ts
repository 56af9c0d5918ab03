/** pith/distill: a small model learns from a large one. */
export * from "./types.ts";

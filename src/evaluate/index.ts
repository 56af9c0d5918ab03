// pith/evaluate: how good a model is, on a text and on tasks, alone and beside another.

export { evaluate } from "./evaluate.ts";
export type { TextOptions, TextProgress, TextResult } from "./text.ts";
export type { Convention } from "./windows.ts";

// pith/evaluate: how good a model is, on a text and on tasks, alone and beside another.

export { evaluate } from "./evaluate.ts";
export { type ExportOptions, type ExportResult, exportAdapter } from "./export.ts";
export type { Figure, LabelCount, Scores } from "./figures.ts";
export { readEvaluationText, readText } from "./read-text.ts";
export type { TaskAnswer, TaskOptions, TaskProgress, TaskResult } from "./task.ts";
export { METRICS, type Metric, parseTask, type Task, type TaskLine } from "./task-file.ts";
export type { TextOptions, TextProgress, TextResult } from "./text.ts";
export type { Convention } from "./windows.ts";

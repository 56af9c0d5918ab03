/** pith/distill: a small model learns from a large one. */
export { type CacheHeader, LogitCache } from "./cache.ts";
export { type DistillResult, distill, dryDistill, type Student } from "./distill.ts";
export { type EndpointTeacherOptions, endpointTeacher } from "./endpoint.ts";
export type { CacheProgress, DistillOptions } from "./options.ts";
export { type Distance, type Mix, recordDistillation } from "./programs.ts";
export {
  distillRecursively,
  type Generation,
  type RecursiveEvent,
  type RecursiveOptions,
  type RecursiveResult,
} from "./recursive.ts";
export { generationTable } from "./recursive-report.ts";
export { DistillStep } from "./step.ts";
export type { NewStudent } from "./student.ts";
export { synthesize } from "./synthesize.ts";
export { REASONS, type Reason } from "./synthesize-answers.ts";
export type { SynthesizeOptions } from "./synthesize-plan.ts";
export type { SynthesizeEvent, SynthesizeResult } from "./synthesize-run.ts";
export { LocalTeacher } from "./teacher.ts";
export * from "./types.ts";

/** pith/distill: a small model learns from a large one. */
export { type EndpointTeacherOptions, endpointTeacher } from "./endpoint.ts";
export { synthesize } from "./synthesize.ts";
export { REASONS, type Reason } from "./synthesize-answers.ts";
export type { SynthesizeOptions } from "./synthesize-plan.ts";
export type { SynthesizeEvent, SynthesizeResult } from "./synthesize-run.ts";
export * from "./types.ts";

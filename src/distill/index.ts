/** pith/distill: a small model learns from a large one. */
export { type EndpointTeacherOptions, endpointTeacher } from "./endpoint.ts";
export * from "./types.ts";

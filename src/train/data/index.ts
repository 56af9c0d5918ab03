// Data for training: files -> samples, checked, with what is learned of them.
export { type DataStats, fileDigests, overlapWarning } from "./check.ts";
export { type PreviewOptions, previewSample } from "./preview.ts";
export { type DataOptions, readPairs, readSamples } from "./read.ts";
export type { Columns } from "./records.ts";

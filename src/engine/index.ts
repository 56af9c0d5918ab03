/**
 * The tensor engine: symbolic tensors, the op table, programs, gradients, the WebAssembly backend. Knows no model and no
 * file. Runs in Node and in browsers.
 */
export * from "./backend.ts";
export { WasmBackend, type WasmOptions } from "./backends/wasm.ts";
export { fuse } from "./fuse.ts";
export { gradients } from "./gradients.ts";
export {
  GRIDS,
  type Grid,
  type Parts,
  packParts,
  QUANT_TYPES,
  type QuantType,
  unpackParts,
} from "./grids.ts";
export * as nn from "./nn.ts";
export type { OpName } from "./ops/index.ts";
export { OPS } from "./ops/index.ts";
export { compose, type Program, record } from "./program.ts";
export type { SampleResult, SampleRow } from "./sampler.ts";
export { type Dim, type Node, Recorder, type Shape, type Tensor } from "./tensor.ts";
export { WEIGHT_TYPES, type WeightType } from "./weights.ts";

// pith/tools: functions that a model may call. Descriptions of functions and a sentence in, checked calls out.

export {
  type CallOptions,
  type CallResult,
  callTools,
  readAnswer,
  type ToolAnswer,
  type ToolCall,
} from "./call.ts";
export { ANY_ANSWER, readTools, type Tool, type ToolParameters, toolSchema } from "./schema.ts";
export { type VerbatimArguments, verbatimArguments } from "./verbatim.ts";

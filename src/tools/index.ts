// pith/tools: functions that a model may call. Descriptions of functions and a sentence in, checked calls out.

export {
  type CallOptions,
  type CallResult,
  callTools,
  readAnswer,
  type ToolAnswer,
  type ToolCall,
} from "./call.ts";
export { readTools, type Tool, type ToolParameters, toolSchema } from "./schema.ts";

// Public face of the tokenizer: text <-> ids, streaming decode, chat templates. Knows no tensors and no models.
export { ChatTemplate, encodeChat } from "./chat-template.ts";
export { type AssistantTurn, assistantTurn, cutSegments, joinSegments } from "./chat-turns.ts";
export { tokenizerToGguf, tokenizerToJson } from "./convert.ts";
export { loadTokenizerFolder } from "./folder.ts";
export { loadTokenizerGguf } from "./gguf.ts";
export { loadTokenizerJson } from "./huggingface.ts";
export { readMessages } from "./messages.ts";
export { StreamDecoder } from "./stream.ts";
export {
  characterTokenizer,
  type SplitName,
  type TrainTokenizerOptions,
  tokenizerConfig,
  trainTokenizer,
} from "./train.ts";
export type {
  ChatInput,
  ChatMessage,
  ChatSegment,
  DecodeOptions,
  EncodeOptions,
  Tokenizer,
} from "./types.ts";

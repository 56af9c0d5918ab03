// Public face of the tokenizer: text <-> ids, streaming decode, chat templates. Knows no tensors and no models.
export { fitToolCalls } from "./chat-calls.ts";
export { ChatTemplate, encodeChat } from "./chat-template.ts";
export { type AssistantTurn, assistantTurn, cutSegments, joinSegments } from "./chat-turns.ts";
export { tokenizerToGguf, tokenizerToJson } from "./convert.ts";
export { loadTokenizerFolder } from "./folder.ts";
export { loadTokenizerGguf } from "./gguf.ts";
export { loadTokenizerJson } from "./huggingface.ts";
export { readMessages } from "./messages.ts";
export { differingToken, tokenName } from "./names.ts";
export { StreamDecoder } from "./stream.ts";
export { characterTokenizer, type TrainTokenizerOptions, trainTokenizer } from "./train.ts";
export { type SplitName, tokenizerConfig } from "./trained-files.ts";
export type {
  ChatInput,
  ChatMessage,
  ChatSegment,
  DecodeOptions,
  EncodeOptions,
  Tokenizer,
} from "./types.ts";

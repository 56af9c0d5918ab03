// pith/embed: texts to vectors with an encoder. Knows no stores and no documents.

export { type Embeddings, type EmbedOptions, embed } from "./embed.ts";
export { Encoder, type LoadEncoderOptions, loadEncoder } from "./encoder.ts";

// pith/formats: bytes <-> named tensors. Knows no models; trusts no byte.

export * from "./gguf-values.ts";
export * from "./source.ts";
export * from "./storage.ts";
export * from "./tensors.ts";
export type * from "./types.ts";

// pith/formats: bytes <-> named tensors. Knows no models; trusts no byte.

export { readGguf } from "./gguf.ts";
export {
  encodeStrings,
  type GgufFile,
  type GgufNumbers,
  type GgufNumberType,
  type GgufStrings,
  type GgufValue,
  getBoolean,
  getInteger,
  getNumber,
  getNumbers,
  getString,
  getStrings,
  required,
} from "./gguf-values.ts";
export { type WriteGgufOptions, writeGguf } from "./gguf-write.ts";
export { type PackedScheme, packedScheme } from "./packed/scheme.ts";
export { unpackTensors } from "./packed/tensors.ts";
export { readSafetensors, type SafetensorsFile } from "./safetensors.ts";
export { readSafetensorsFolder, type SafetensorsFolder } from "./safetensors-folder.ts";
export { type WriteSafetensorsOptions, writeSafetensors } from "./safetensors-write.ts";
export { sniff } from "./sniff.ts";
export { fromBytes, openFile, type Source } from "./source.ts";
export { STORAGE_TYPES, type StorageType, type StorageTypeInfo } from "./storage.ts";
export { asWeight, readTensor, readTensorValues, streamTensor, weightTensor } from "./tensors.ts";
export type { TensorInfo, TensorToWrite, WeightTensor, WriteProgress } from "./types.ts";
export { type StagedFile, stageFile, writeFileAtomic } from "./write.ts";

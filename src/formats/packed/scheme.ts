// What a checkpoint's `quantization_config` says: which of the three packed layouts its matrices have, and how.
// Sources of the layouts: AutoGPTQ's and AutoAWQ's checkpoints, and the compressed-tensors specification (pack-quantized).

import { isObject, type Json } from "../json.ts";

export interface PackedScheme {
  readonly method: "gptq" | "awq" | "compressed-tensors";
  /** Bits of a code; compressed-tensors tells them by shapes, so not here. */
  readonly bits?: number;
  /** The zero point is 2^(bits - 1) everywhere. */
  readonly symmetric: boolean;
  /** Columns were sorted before they were grouped, so `g_idx` names each one's group. */
  readonly act_order: boolean;
  /** What must be added to a stored zero point: GPTQ's first format stores it less one. */
  readonly zero_offset: 0 | 1;
}

/**
 * @param value the value of `quantization_config` in config.json
 * @throws {TypeError} for a layout, or a setting of one, that is not read
 */
export function packedScheme(file: string, value: unknown): PackedScheme {
  const fail = (field: string, found: unknown, wanted: string): never => {
    throw new TypeError(
      `Cannot read ${JSON.stringify(file)}: "quantization_config.${field}" is ${JSON.stringify(found)}, wanted ${wanted}`,
    );
  };
  const config = value as Json | undefined;
  if (!isObject(config)) return fail("quant_method", undefined, `"gptq", "awq" or "compressed-tensors"`);
  const method = config.quant_method;
  const empty = (field: string) => {
    const found = config[field];
    const size = isObject(found) ? Object.keys(found).length : found == null ? 0 : 1;
    if (size > 0) fail(field, found, "none");
  };
  const bits = (): number => {
    const found = config.bits;
    if (found !== 2 && found !== 3 && found !== 4 && found !== 8) return fail("bits", found, "2, 3, 4 or 8");
    return found;
  };
  switch (method) {
    case "gptq": {
      empty("dynamic"); // other bits for some modules
      const { sym = true, desc_act = false, checkpoint_format = "gptq" } = config;
      if (checkpoint_format !== "gptq" && checkpoint_format !== "gptq_v2")
        fail("checkpoint_format", checkpoint_format, `"gptq" or "gptq_v2"`);
      return {
        method,
        bits: bits(),
        symmetric: sym === true,
        act_order: desc_act === true,
        zero_offset: checkpoint_format === "gptq" ? 1 : 0,
      };
    }
    case "awq": {
      const { version = "gemm", zero_point = true } = config;
      if (String(version).toLowerCase() !== "gemm") fail("version", version, `"gemm"`);
      if (config.bits !== 4) fail("bits", config.bits, "4");
      return { method, bits: 4, symmetric: zero_point === false, act_order: false, zero_offset: 0 };
    }
    case "compressed-tensors": {
      if (config.format !== "pack-quantized") fail("format", config.format, `"pack-quantized"`);
      empty("transform_config"); // rotations of the activations
      const sparsity = isObject(config.sparsity_config) ? config.sparsity_config.format : undefined;
      if (sparsity !== undefined && sparsity !== "dense") fail("sparsity_config.format", sparsity, `"dense"`);
      return { method, symmetric: false, act_order: false, zero_offset: 0 };
    }
    default:
      return fail(
        "quant_method",
        method,
        `"gptq", "awq" or "compressed-tensors" (or a folder with f32, f16 or bf16 weights)`,
      );
  }
}

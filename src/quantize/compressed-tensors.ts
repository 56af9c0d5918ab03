// Matrices as safetensors hold them in the layout "pack-quantized" of compressed-tensors, which vLLM and transformers read:
//
//     path.weight_packed  i32 [N, K·bits/32]   codes along a row, lowest bits first, each plus 2^(bits-1)
//     path.weight_scale   f16 [N, K/32]
//     path.weight_shape   i64 [2]              N, K
//
// q4_0 and q8_0 are such matrices (int, symmetric, a scale for each 32 columns), so nothing is rounded again.

import type { QuantType } from "../engine/grids.ts";
import { WEIGHT_TYPES } from "../engine/weights.ts";
import type { TensorToWrite } from "../formats/index.ts";
import type { Parameter } from "../models/convert.ts";
import type { OpenedModel } from "../models/index.ts";
import type { RowSource } from "../models/rows.ts";
import { linearTargets } from "../models/targets.ts";
import type { QuantizePlan } from "./plan.ts";

/** Types that the layout holds, and their bits. */
const BITS: Readonly<Partial<Record<QuantType, 4 | 8>>> = { q4_0: 4, q8_0: 8 };
const GROUP = 32;

/** @throws {TypeError} where a plan has matrices that this layout cannot hold */
export function checkPackable({ name, definition, config }: OpenedModel, to: QuantType, out: string): void {
  const cannot = `Cannot write ${JSON.stringify(out)}: `;
  if (BITS[to] === undefined)
    throw new TypeError(
      `${cannot}a folder holds ${Object.keys(BITS).join(" and ")} (compressed-tensors), found ${to}; a name that ends in .gguf makes a GGUF file, which holds it`,
    );
  const transposed = [...definition.params(config).keys()].find(
    (name) => definition.stored?.(name) === "transposed",
  );
  if (transposed !== undefined)
    throw new TypeError(
      `${cannot}matrices of ${JSON.stringify(name)} lie transposed (${transposed}), which compressed-tensors has no form for; a name that ends in .gguf makes a GGUF file`,
    );
}

/** Matrices that become packed ones in a folder: linears, but the head. The others stay in floats. */
export function packedNames({ definition, config }: Pick<OpenedModel, "definition" | "config">): Set<string> {
  const linears = [...linearTargets(definition, config)];
  return new Set(linears.filter(([path]) => path !== "lm_head").map(([, { weight }]) => weight));
}

/** `quantization_config` of config.json. */
export function packing(model: OpenedModel, { to, tensors }: QuantizePlan): object {
  const packed = packedNames(model);
  const floats = tensors.filter(
    ({ name, type }) => packed.has(name) && BITS[type as QuantType] === undefined,
  );
  const weights = {
    num_bits: BITS[to],
    type: "int",
    symmetric: true,
    strategy: "group",
    group_size: GROUP,
    dynamic: false,
  };
  return {
    quant_method: "compressed-tensors",
    format: "pack-quantized",
    quantization_status: "compressed",
    config_groups: {
      group_0: { targets: ["Linear"], weights, input_activations: null, output_activations: null },
    },
    ignore: ["lm_head", ...floats.map(({ name }) => name.replace(/\.weight$/, ""))],
  };
}

/** A matrix of q4_0 or q8_0 blocks as the three tensors in its place. Its scales are held until they are written. */
export function packedParameter(
  source: RowSource,
  type: QuantType,
  blocks: () => AsyncIterable<Uint8Array>,
): Parameter {
  const [N, K] = source.shape as [number, number];
  const bits = BITS[type]!;
  const path = source.name.replace(/\.weight$/, "");
  let scales: Uint8Array | undefined;
  async function* codes(): AsyncGenerator<Uint8Array> {
    const all = new Uint8Array(2 * N * (K / GROUP));
    let done = 0;
    for await (const piece of blocks()) {
      const count = piece.length / WEIGHT_TYPES[type].blockBytes;
      const out = new Uint8Array((count * GROUP * bits) / 8);
      unpackBlocks(piece, bits, out, all.subarray(2 * done));
      done += count;
      yield out;
    }
    scales = all;
  }
  const taken = async () => {
    const all = scales;
    if (!all) throw new Error(`Cannot write "${path}.weight_scale": its codes were not written before it`);
    scales = undefined;
    return all;
  };
  const shape = new Uint8Array(BigInt64Array.of(BigInt(N), BigInt(K)).buffer);
  const packed: TensorToWrite[] = [
    { name: `${path}.weight_packed`, type: "i32", shape: [N, (K * bits) / 32], data: codes },
    { name: `${path}.weight_scale`, type: "f16", shape: [N, K / GROUP], data: taken },
    { name: `${path}.weight_shape`, type: "i64", shape: [2], data: async () => shape },
  ];
  return { source, natural: type, packed };
}

/** Blocks of 32 -> codes in the order of columns, with an offset in place of a sign; and the scales. */
function unpackBlocks(blocks: Uint8Array, bits: 4 | 8, codes: Uint8Array, scales: Uint8Array): void {
  const width = bits === 4 ? 18 : 34;
  for (let b = 0, at = 0; at < blocks.length; b++, at += width) {
    scales[2 * b] = blocks[at]!;
    scales[2 * b + 1] = blocks[at + 1]!;
    if (bits === 8) for (let j = 0; j < GROUP; j++) codes[b * GROUP + j] = blocks[at + 2 + j]! ^ 0x80;
    else
      for (let j = 0; j < GROUP / 2; j++) {
        // Columns 2j and 2j + 1 of a block: nibbles of bytes 2j and 2j + 1, low in its first half and high in its second.
        const shift = j < GROUP / 4 ? 0 : 4;
        const byte = at + 2 + ((2 * j) % (GROUP / 2));
        codes[(b * GROUP) / 2 + j] =
          ((blocks[byte]! >>> shift) & 15) | (((blocks[byte + 1]! >>> shift) & 15) << 4);
      }
  }
}

// Which type a matrix gets: the standard mix, and what a user asks for by name. Names, shapes and types only.

import { isQuantType, QUANT_TYPES, type QuantType } from "../engine/grids.ts";
import { isWeightType, type WeightType } from "../engine/weights.ts";

/** Types that a matrix can be written in: rounded ones, and floats. */
export type MixType = QuantType | "f32" | "f16" | "bf16";

/** Where a matrix stands in the model, by what GGUF calls it: `token_embd`, `output`, or a part of a layer (`attn_v`). */
export interface Place {
  readonly role: string;
  /** Its number among the matrices of this role, and how many there are. */
  readonly index: number;
  readonly count: number;
}

/**
 * The standard mix: that of llama.cpp's files of the same name (of the M sizes, where there are some), so that files are
 * as large and can be compared. The head and an embedding that is the head get q6_k, and values and down projections
 * more bits in layers where errors weigh most.
 * @param to what the others get
 * @param model `tied`: the head is the embedding; `shared`: query heads that share a key head
 */
export function standardType(
  to: QuantType,
  { role, index: i, count: n }: Place,
  { tied, shared }: { readonly tied: boolean; readonly shared: number },
): QuantType {
  const embedding = role === "token_embd" || role === "per_layer_token_embd";
  if (role === "output" || (embedding && tied)) return to === "q8_0" ? "q8_0" : "q6_k";
  if (embedding) return /^tq/.test(to) ? "q4_k" : to;
  const more = i < Math.floor(n / 8) || i >= Math.floor((7 * n) / 8) || (i - Math.floor(n / 8)) % 3 === 2;
  const values = role === "attn_v" || role === "attn_qkv";
  switch (to) {
    case "q2_k":
      if (values) return shared >= 4 ? "q4_k" : "q3_k";
      return role === "ffn_down" || role === "attn_output" ? "q3_k" : to;
    case "q3_k":
      if (values) return i < 2 ? "q5_k" : "q4_k";
      if (role === "ffn_down") return i < Math.floor(n / 16) ? "q5_k" : "q4_k";
      return role === "attn_output" ? "q4_k" : to;
    case "q4_k":
    case "q5_k":
      return (values || role === "ffn_down") && more ? "q6_k" : to;
    default:
      return to;
  }
}

/** What takes a type's place where no block of it divides a width, in turn; the last is no block. */
const NEXT: Readonly<Partial<Record<string, QuantType>>> = {
  q6_k: "q8_0",
  q5_k: "q5_1",
  q4_k: "q5_0",
  q3_k: "q4_0",
  q2_k: "q4_0",
  tq2_0: "q4_0",
  tq1_0: "q4_0",
};

/** The type in place of one that a width cannot take: of blocks of 32, or f16. */
export function nextType(type: QuantType): MixType {
  return NEXT[type] ?? "f16";
}

/**
 * Reads "pattern=type,pattern=type": a pattern is the end of a parameter's name, in whole parts, with `*` for anything
 * ("down_proj", "layers.0.*", "lm_head"); of several that fit, the last counts.
 * @param names of the matrices; `lm_head` is the embedding where that is the head
 * @returns name -> type
 * @throws {SyntaxError | TypeError | RangeError} on a part that is no pattern and type, or that fits no matrix
 */
export function parseMix(
  mix: string,
  names: readonly string[],
  tiedHead: string | undefined,
): Map<string, MixType> {
  const types = new Map<string, MixType>();
  for (const part of mix.split(",").map((text) => text.trim())) {
    const [, pattern, type] = /^([^=\s]+)\s*=\s*(\S+)$/.exec(part) ?? [];
    const cannot = `Cannot mix types by ${JSON.stringify(part)}: `;
    if (pattern === undefined || type === undefined)
      throw new SyntaxError(`${cannot}wanted a pattern, "=" and a type, as in "down_proj=q6_k,lm_head=q8_0"`);
    if (!isMixType(type))
      throw new TypeError(
        `${cannot}found type ${JSON.stringify(type)}, wanted one of ${QUANT_TYPES.join(", ")}, f16, bf16, f32`,
      );
    const fits = matcher(pattern);
    const found = names.filter((name) => fits(stem(name)) || (name === tiedHead && fits("lm_head")));
    if (found.length === 0)
      throw new RangeError(
        `${cannot}no matrix has a name that ends so, wanted one such as ${names.slice(-3).map(stem).join(", ")}`,
      );
    for (const name of found) types.set(name, type);
  }
  return types;
}

export function isMixType(type: string): type is MixType {
  return isQuantType(type) || (isWeightType(type) && FLOATS.includes(type));
}

const FLOATS: readonly WeightType[] = ["f32", "f16", "bf16"];
const stem = (name: string) => name.replace(/\.weight$/, "");

function matcher(pattern: string): (name: string) => boolean {
  const parts = stem(pattern)
    .split("*")
    .map((text) => text.replace(/[\\^$.|?+()[\]{}]/g, "\\$&"));
  const expression = new RegExp(`^(.*\\.)?${parts.join(".*")}$`);
  return (name) => expression.test(name);
}

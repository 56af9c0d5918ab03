// Pre-tokenizer patterns of published models: under which name GGUF (`tokenizer.ggml.pre`) knows each, and the
// steps it stands for. Facts of the formats; the order of names is the order in which a converter tries them.

/** One GGUF pre-tokenizer: every step splits the pieces of the step before, keeping what does not match. */
export interface KnownPre {
  /** The first name is the one written. */
  names: readonly string[];
  steps: readonly string[];
  /** Words that are entries need no merges. */
  wholeWords?: boolean;
  /** The model's default when the file has no `add_bos_token`. */
  addBos?: boolean;
}

const CONTRACTIONS = "(?:'[sS]|'[tT]|'[rR][eE]|'[vV][eE]|'[mM]|'[lL][lL]|'[dD])";
const SPACES = "\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+";
const GPT2 = "'s|'t|'re|'ve|'m|'ll|'d| ?\\p{L}+| ?\\p{N}+| ?[^\\s\\p{L}\\p{N}]+|\\s+(?!\\S)|\\s+";
const cl100k = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|${SPACES}`;
const LLAMA3 = cl100k("\\p{N}{1,3}");
const QWEN2 = cl100k("\\p{N}");
const UPPER = "[\\p{Lu}\\p{Lt}\\p{Lm}\\p{Lo}\\p{M}]";
const LOWER = "[\\p{Ll}\\p{Lm}\\p{Lo}\\p{M}]";
const cased = (suffix: string, digits: string) =>
  `[^\\r\\n\\p{L}\\p{N}]?${UPPER}*${LOWER}+${suffix}|[^\\r\\n\\p{L}\\p{N}]?${UPPER}+${LOWER}*${suffix}` +
  `|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n/]*|${SPACES}`;
const DEEPSEEK_CJK = "[\u4e00-\u9fa5\u0800-\u4e00\uac00-\ud7ff]+";
const DEEPSEEK3 =
  "[!\"#$%&'()*+,\\-./:;<=>?@\\[\\\\\\]^_`{|}~][A-Za-z]+|[^\\r\\n\\p{L}\\p{P}\\p{S}]?[\\p{L}\\p{M}]+" +
  `| ?[\\p{P}\\p{S}]+[\\r\\n]*|${SPACES}`;
// Cased letters, as the tokenizer of DeepSeek-LLM lists them: letters that have, or are, an upper or lower case.
const DEEPSEEK_LETTERS =
  "\\s?[A-Za-z\u00b5\u00c0-\u00d6\u00d8-\u00f6\u00f8-\u01ba\u01bc-\u01bf\u01c4-\u0293\u0295-\u02af\u0370-\u0373" +
  "\u0376\u0377\u037b-\u037d\u037f\u0386\u0388-\u038a\u038c\u038e-\u03a1\u03a3-\u03f5\u03f7-\u0481\u048a-\u052f" +
  "\u0531-\u0556\u10a0-\u10c5\u13a0-\u13f5\u13f8-\u13fd\u1c90-\u1cba\u1cbd-\u1cbf\u1d00-\u1d2b\u1d6b-\u1d77" +
  "\u1d79-\u1d9a\u1e00-\u1f15\u1f18-\u1f1d\u1f20-\u1f45\u1f48-\u1f4d\u1f50-\u1f57\u1f59\u1f5b\u1f5d\u1f5f-\u1f7d" +
  "\u1f80-\u1fb4\u1fb6-\u1fbc\u1fbe\u1fc2-\u1fc4\u1fc6-\u1fcc\u1fd0-\u1fd3\u1fd6-\u1fdb\u1fe0-\u1fec\u1ff2-\u1ff4" +
  "\u1ff6-\u1ffc\u2102\u2107\u210a-\u2113\u2115\u2119-\u211d\u2124\u2126\u2128\u212a-\u212d\u212f-\u2134\u2139" +
  "\u213c-\u213f\u2145-\u2149\u214e\u2183\u2184\u2c00-\u2c7b\u2c7e-\u2ce4\u2ceb-\u2cee\u2cf2\u2cf3\ua640-\ua66d" +
  "\ua680-\ua69b\ua722-\ua76f\ua771-\ua787\ua78b-\ua78e\uab70-\uabbf\ufb00-\ufb06\ufb13-\ufb17\uff21-\uff3a" +
  "\uff41-\uff5a\u{10400}-\u{1044f}\u{104b0}-\u{104d3}\u{104d8}-\u{104fb}\u{10c80}-\u{10cb2}\u{10cc0}-\u{10cf2}" +
  "\u{118a0}-\u{118df}\u{1e900}-\u{1e943}]+";

export const KNOWN_PRE: readonly KnownPre[] = [
  {
    names: ["llama-bpe", "llama3", "llama-v3", "falcon3", "falcon-h1", "pixtral", "midm-2.0", "lfm2"],
    steps: [LLAMA3],
    wholeWords: true,
    addBos: true,
  },
  { names: ["smaug-bpe", "dbrx", "glm4", "chatglm-bpe"], steps: [LLAMA3] },
  {
    names: [
      "qwen2",
      "deepseek-r1-qwen",
      "megrez",
      "kormo",
      "f2llmv2",
      "stablelm2",
      "hunyuan",
      "grok-2",
      "solar-open",
    ],
    steps: [QWEN2],
  },
  {
    names: ["qwen35"],
    steps: [QWEN2.replace("\\p{L}+", "[\\p{L}\\p{M}]+").replace("^\\s\\p{L}", "^\\s\\p{L}\\p{M}")],
  },
  {
    names: ["gpt-2", "phi-2", "mpt", "olmo", "jais", "trillion", "exaone4", "gigachat", "mellum", "a.x-4.0"],
    steps: [GPT2],
  },
  {
    names: ["smollm", "starcoder", "refact", "command-r", "codeshell", "exaone", "minerva-7b", "mellum2"],
    steps: ["\\p{N}", GPT2],
  },
  {
    names: ["gpt-4o", "llama4", "kanana2", "talkie", "minimax-m2"],
    steps: [cased(`${CONTRACTIONS}?`, "\\p{N}{1,3}")],
  },
  { names: ["tekken"], steps: [cased("", "\\p{N}")], wholeWords: true, addBos: true },
  {
    names: ["default"],
    steps: ["[\\p{P}\\$\\+<=>\\^~\\|]+", GPT2, "\\p{N}+", "[0-9][0-9][0-9]"],
  },
  { names: ["falcon"], steps: ["[\\p{P}\\$\\+<=>\\^~\\|`]+", GPT2, "[0-9][0-9][0-9]"] },
  {
    names: ["deepseek-llm"],
    // Upstream's fourth step is \s+$; the lookbehind finds the same places without trying every space of a run.
    steps: [
      "[\\r\\n]",
      DEEPSEEK_LETTERS,
      "\\s?[!-/:-~！-／：-～‘-‟\u3000-。]+",
      "(?<!\\s)\\s+$",
      DEEPSEEK_CJK,
      "\\p{N}+",
    ],
  },
  { names: ["deepseek-coder"], steps: ["[\\r\\n]", "\\s?\\p{L}+", "\\s?\\p{P}+", DEEPSEEK_CJK, "\\p{N}"] },
  {
    names: ["deepseek-v3", "hunyuan-dense", "joyai-llm", "hy_v4"],
    steps: ["\\p{N}{1,3}", "[\u4e00-\u9fa5\u3040-\u309f\u30a0-\u30ff]+", DEEPSEEK3],
  },
  {
    names: ["seed-coder"],
    steps: [QWEN2.replace("+[\\r\\n]*", "+").replace("\\p{L}\\p{N}]+|", "\\p{L}\\p{N}\\r\\n]+|")],
  },
];

/** GPT-2's own pattern: what a `ByteLevel` pre-tokenizer with `use_regex` splits by. */
export const BYTE_LEVEL_PATTERN = GPT2;

/** One spelling for patterns that mean the same, so that they compare equal. */
export function canonicalPattern(pattern: string): string {
  return pattern
    .replaceAll("(?i:'s|'t|'re|'ve|'m|'ll|'d)", CONTRACTIONS)
    .replaceAll("'(?i:[sdmt]|ll|ve|re)", CONTRACTIONS)
    .replaceAll("\\p{N}{1}", "\\p{N}")
    .replaceAll("\n", "\\n")
    .replaceAll("\r", "\\r")
    .replace(/(?<=\|)\\s\+\(\?!\\S\)$/, "\\s+(?!\\S)|\\s+");
}

const knownSteps = new Set(KNOWN_PRE.flatMap((pre) => pre.steps));

/** True for a pattern of a published model: those were looked at, and run in linear time. */
export function isKnownPattern(pattern: string): boolean {
  return knownSteps.has(canonicalPattern(pattern));
}

/** The GGUF pre-tokenizer of that name. */
export function preByName(name: string): KnownPre | undefined {
  return KNOWN_PRE.find((pre) => pre.names.includes(name));
}

/** The GGUF pre-tokenizer that splits by these steps. */
export function preBySteps(steps: readonly string[], wholeWords: boolean): KnownPre | undefined {
  const wanted = JSON.stringify(steps.map(canonicalPattern));
  const same = KNOWN_PRE.filter((pre) => JSON.stringify(pre.steps) === wanted);
  return same.find((pre) => (pre.wholeWords ?? false) === wholeWords) ?? (wholeWords ? undefined : same[0]);
}

export function preNames(): string {
  return KNOWN_PRE.flatMap((pre) => pre.names).join(", ");
}

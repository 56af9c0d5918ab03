// What a trained tokenizer is written as: tokenizer.json and tokenizer_config.json, as Hugging Face reads them.

/** How text is cut into words before merging: the patterns of GPT-2, Llama 3 (three digits at most) and Qwen2 (one). */
export type SplitName = "gpt2" | "llama3" | "qwen2";

/** tokenizer_config.json of a trained tokenizer. `end` and `begin` are control tokens. */
export function tokenizerConfig(options: {
  readonly end?: string;
  readonly begin?: string;
  /** Longest context of the model. */
  readonly ctx?: number;
  readonly chatTemplate?: string;
}): object {
  const { end, begin, ctx, chatTemplate } = options;
  return {
    tokenizer_class: "PreTrainedTokenizerFast",
    ...(begin !== undefined && { bos_token: begin }),
    ...(end !== undefined && { eos_token: end }),
    clean_up_tokenization_spaces: false,
    ...(ctx !== undefined && { model_max_length: ctx }),
    ...(chatTemplate !== undefined && { chat_template: chatTemplate }),
  };
}

/** The `(?i:...)` is Oniguruma's, as published files have it. */
const CONTRACTIONS = "(?i:'s|'t|'re|'ve|'m|'ll|'d)";
const splitPattern = (digits: string) =>
  `${CONTRACTIONS}|[^\\r\\n\\p{L}\\p{N}]?\\p{L}+|${digits}| ?[^\\s\\p{L}\\p{N}]+[\\r\\n]*|\\s*[\\r\\n]+|\\s+(?!\\S)|\\s+`;

/** `pre_tokenizer` of a tokenizer.json. */
export function preTokenizerOf(split: SplitName): object {
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: false };
  if (split === "gpt2") return { ...byteLevel, use_regex: true };
  const digits = { llama3: "\\p{N}{1,3}", qwen2: "\\p{N}" }[split];
  if (!digits)
    throw new RangeError(
      `Cannot train a tokenizer: split is ${JSON.stringify(split)}, want gpt2, llama3 or qwen2`,
    );
  const pattern = { Regex: splitPattern(digits) };
  return {
    type: "Sequence",
    pretokenizers: [
      { type: "Split", pattern, behavior: "Isolated", invert: false },
      { ...byteLevel, use_regex: false },
    ],
  };
}

/** tokenizer.json; without a pre-tokenizer, entries are characters. */
export function tokenizerJson(
  special: readonly string[],
  symbols: readonly string[],
  merges: readonly [string, string][],
  preTokenizer: object | null,
  begin: string | undefined,
): object {
  const vocab = Object.fromEntries(symbols.map((text, i) => [text, i]));
  const id = begin === undefined ? -1 : special.indexOf(begin);
  return {
    version: "1.0",
    truncation: null,
    padding: null,
    added_tokens: special.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: preTokenizer,
    post_processor:
      begin === undefined
        ? null
        : {
            type: "TemplateProcessing",
            single: [{ SpecialToken: { id: begin, type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
            pair: [
              { SpecialToken: { id: begin, type_id: 0 } },
              { Sequence: { id: "A", type_id: 0 } },
              { Sequence: { id: "B", type_id: 1 } },
            ],
            special_tokens: { [begin]: { id: begin, ids: [id], tokens: [begin] } },
          },
    decoder: preTokenizer
      ? { type: "ByteLevel", add_prefix_space: false, trim_offsets: false, use_regex: false }
      : { type: "Fuse" },
    model: {
      type: "BPE",
      dropout: null,
      unk_token: null,
      continuing_subword_prefix: null,
      end_of_word_suffix: null,
      fuse_unk: false,
      byte_fallback: false,
      ignore_merges: false,
      vocab,
      merges,
    },
  };
}

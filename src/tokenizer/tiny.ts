// Small tokenizers made for tests: nothing here ships in a model.

import { BYTE_CHARACTERS, byteToken } from "./vocabulary.ts";

/** Byte-level BPE: 256 bytes, six merges, two control tokens and one plain added token. */
export function tinyByteLevel(pattern?: string): { tokenizer: Record<string, unknown>; config: object } {
  const merges = ["h e", "l l", "he ll", "hell o", "Ġ w", "Ġw o"];
  const vocab: Record<string, number> = {};
  for (const token of [...BYTE_CHARACTERS, ...merges.map((merge) => merge.replace(" ", ""))]) {
    vocab[token] = Object.keys(vocab).length;
  }
  const added = (id: number, content: string, special: boolean) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special,
  });
  const byteLevel = { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: !pattern };
  const split = { type: "Split", pattern: { Regex: pattern }, behavior: "Isolated", invert: false };
  return {
    tokenizer: {
      version: "1.0",
      truncation: null,
      padding: null,
      added_tokens: [
        added(262, "<|im_start|>", true),
        added(263, "<|im_end|>", true),
        added(264, "<tool>", false),
      ],
      normalizer: null,
      pre_tokenizer: pattern ? { type: "Sequence", pretokenizers: [split, byteLevel] } : byteLevel,
      post_processor: null,
      decoder: { ...byteLevel, use_regex: true },
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
    },
    config: { eos_token: "<|im_end|>", chat_template: TINY_TEMPLATE },
  };
}

export const TINY_TEMPLATE =
  "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' + m.content + '<|im_end|>' + '\n' }}{% endfor %}" +
  "{% if add_generation_prompt %}{{ '<|im_start|>assistant\n' }}{% endif %}";

/** SentencePiece BPE as Hugging Face writes it: bytes, letters, every split of five longer pieces. */
export function tinyMetaspace(): { tokenizer: Record<string, unknown>; config: object } {
  const pieces = ["▁h", "el", "lo", "▁hel", "▁hello"];
  const merges = [
    ["▁", "h"],
    ["e", "l"],
    ["l", "o"],
    ["▁h", "el"],
    ["▁hel", "lo"],
  ];
  const vocab: Record<string, number> = { "<unk>": 0, "<s>": 1, "</s>": 2 };
  for (let byte = 0; byte < 256; byte++) vocab[byteToken(byte)] = 3 + byte;
  for (const piece of [...pieces, "▁", "h", "e", "l", "o", "w"]) vocab[piece] = Object.keys(vocab).length;
  const added = Object.entries({ "<unk>": 0, "<s>": 1, "</s>": 2 }).map(([content, id]) => ({
    id,
    content,
    single_word: false,
    lstrip: false,
    rstrip: false,
    normalized: false,
    special: true,
  }));
  const replace = { type: "Replace", pattern: { String: " " }, content: "▁" };
  return {
    tokenizer: {
      version: "1.0",
      added_tokens: added,
      normalizer: { type: "Sequence", normalizers: [{ type: "Prepend", prepend: "▁" }, replace] },
      pre_tokenizer: null,
      post_processor: {
        type: "TemplateProcessing",
        single: [{ SpecialToken: { id: "<s>", type_id: 0 } }, { Sequence: { id: "A", type_id: 0 } }],
        pair: [],
        special_tokens: { "<s>": { id: "<s>", ids: [1], tokens: ["<s>"] } },
      },
      decoder: {
        type: "Sequence",
        decoders: [
          { type: "Replace", pattern: { String: "▁" }, content: " " },
          { type: "ByteFallback" },
          { type: "Fuse" },
          { type: "Strip", content: " ", start: 1, stop: 0 },
        ],
      },
      model: { type: "BPE", unk_token: "<unk>", fuse_unk: true, byte_fallback: true, vocab, merges },
    },
    config: { bos_token: "<s>", eos_token: "</s>", unk_token: "<unk>" },
  };
}

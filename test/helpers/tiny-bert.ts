// A tiny BERT with a WordPiece tokenizer and sentence-transformers' files, the same on every machine.
import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { writeTinyType } from "./tiny-types.ts";

const WORDS =
  "[PAD] [UNK] [CLS] [SEP] [MASK] the land and sea of a king ##s ##ing ##ed walk talk , . ! to be or not".split(
    " ",
  );

export const TINY_BERT = {
  model_type: "bert",
  hidden_size: 48,
  intermediate_size: 80,
  num_hidden_layers: 2,
  num_attention_heads: 4,
  vocab_size: 60,
  max_position_embeddings: 128,
  layer_norm_eps: 1e-12,
  type_vocab_size: 2,
  hidden_act: "gelu",
  pad_token_id: 0,
};

export async function writeTinyBert(
  folder: string,
  { mode = "mean_tokens", normalize = true, include_prompt = true, max_seq_length = 32 } = {},
): Promise<void> {
  await writeTinyType(folder, TINY_BERT);
  const special = (id: number) => ({ id: WORDS[id], ids: [id], tokens: [WORDS[id]] });
  const part = (id: number) => ({ SpecialToken: { id: WORDS[id], type_id: 0 } });
  const A = { Sequence: { id: "A", type_id: 0 } };
  const files: Record<string, unknown> = {
    "tokenizer.json": {
      version: "1.0",
      added_tokens: [0, 1, 2, 3, 4].map((id) => ({ id, content: WORDS[id], special: true })),
      normalizer: {
        type: "BertNormalizer",
        clean_text: true,
        handle_chinese_chars: true,
        strip_accents: null,
        lowercase: true,
      },
      pre_tokenizer: { type: "BertPreTokenizer" },
      post_processor: {
        type: "TemplateProcessing",
        single: [part(2), A, part(3)],
        pair: [part(2), A, part(3), { Sequence: { id: "B", type_id: 1 } }, part(3)],
        special_tokens: { "[CLS]": special(2), "[SEP]": special(3) },
      },
      decoder: { type: "WordPiece", prefix: "##", cleanup: true },
      model: {
        type: "WordPiece",
        unk_token: "[UNK]",
        continuing_subword_prefix: "##",
        max_input_chars_per_word: 100,
        vocab: Object.fromEntries(WORDS.map((word, id) => [word, id])),
      },
    },
    "tokenizer_config.json": { tokenizer_class: "BertTokenizer", unk_token: "[UNK]", pad_token: "[PAD]" },
    "modules.json": ["Transformer", "Pooling", ...(normalize ? ["Normalize"] : [])].map((kind, idx) => ({
      idx,
      name: String(idx),
      path: idx === 0 ? "" : `${idx}_${kind}`,
      type: `sentence_transformers.models.${kind}`,
    })),
    "1_Pooling/config.json": { word_embedding_dimension: 48, [`pooling_mode_${mode}`]: true, include_prompt },
    "config_sentence_transformers.json": {
      prompts: { query: "the king: ", document: "" },
      default_prompt_name: null,
    },
    "sentence_bert_config.json": { max_seq_length, do_lower_case: false },
  };
  for (const [name, content] of Object.entries(files)) {
    await mkdir(dirname(join(folder, name)), { recursive: true });
    await writeFile(join(folder, name), JSON.stringify(content));
  }
}

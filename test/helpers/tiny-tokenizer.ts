// A byte-level BPE tokenizer of a few dozen tokens, in Hugging Face's form: enough for the tiny models.
import { writeFile } from "node:fs/promises";
import { join } from "node:path";

const LETTERS = [..."abcdefghijklmnopqrstuvwxyzĠ.,!?ATLO"];
const MERGES = ["t h", "th e", "a n", "an d", "Ġ a", "Ġ the", "i n", "o n"];

/** Writes tokenizer.json and tokenizer_config.json. Ids 0..2 are control tokens; the vocabulary has 46 entries. */
export async function writeTinyTokenizer(folder: string): Promise<void> {
  const control = ["<unk>", "<s>", "</s>"];
  const words = [...control, ...LETTERS, ...MERGES.map((merge) => merge.replace(" ", ""))];
  const vocab = Object.fromEntries(words.map((word, id) => [word, id]));
  const json = {
    version: "1.0",
    added_tokens: control.map((content, id) => ({
      id,
      content,
      single_word: false,
      lstrip: false,
      rstrip: false,
      normalized: false,
      special: true,
    })),
    normalizer: null,
    pre_tokenizer: { type: "ByteLevel", add_prefix_space: false, trim_offsets: true, use_regex: true },
    post_processor: null,
    decoder: { type: "ByteLevel", add_prefix_space: true, trim_offsets: true, use_regex: true },
    model: { type: "BPE", unk_token: "<unk>", vocab, merges: MERGES.map((merge) => merge.split(" ")) },
  };
  const config = {
    tokenizer_class: "PreTrainedTokenizerFast",
    bos_token: "<s>",
    eos_token: "</s>",
    unk_token: "<unk>",
    chat_template: "{% for m in messages %}<s>{{ m.content }}</s>{% endfor %}",
  };
  await writeFile(join(folder, "tokenizer.json"), JSON.stringify(json));
  await writeFile(join(folder, "tokenizer_config.json"), JSON.stringify(config));
}

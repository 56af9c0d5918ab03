// Which of a repository's files make a model that pith opens.

import { isGguf, matchesQuant } from "./cache.ts";
import { type HubName, quantOf } from "./name.ts";
import type { RemoteFile } from "./remote.ts";

/** Beside the weights: configuration, tokenizer, templates, sentence-embedding modules, adapters, card and licence. */
const COMPANIONS =
  /^(config|generation_config|tokenizer|tokenizer_config|special_tokens_map|added_tokens|vocab|chat_template|preprocessor_config|modules|config_sentence_transformers|sentence_bert_config|adapter_config|quantize_config|quant_config|model\.safetensors\.index)\.json$|^(merges|vocab)\.txt$|^(tokenizer|spiece)\.model$|^chat_template\.jinja$|^\d+_[A-Za-z]+\/config\.json$|^(README\.md|LICEN[CS]E(\.\w+)?|NOTICE(\.\w+)?)$/;
/** The quantization that is meant where none is named, first of these. */
const USUAL = ["Q4_K_M", "Q4_0", "Q8_0"];

/**
 * The files to download: of a GGUF repository one quantization, of any other all safetensors at its top and what
 * belongs to them.
 * @throws {Error} when the repository has no weights that pith reads; says what it has
 */
export function selectFiles(name: HubName, files: readonly RemoteFile[]): RemoteFile[] {
  const cannot = `Cannot pull ${JSON.stringify(name.repo)}: `;
  const ggufs = files.filter((f) => isGguf(f.path) && !/(^|\/)(mmproj|imatrix)/i.test(f.path));
  const tensors = files.filter((f) => /^[^/]+\.safetensors$/.test(f.path));
  if (name.quant !== undefined || (tensors.length === 0 && ggufs.length > 0))
    return [
      ...files.filter((f) => /^(README\.md|LICEN[CS]E(\.\w+)?)$/.test(f.path)),
      selectGguf(name, ggufs, cannot),
    ];
  // `consolidated*` is the same model once more, in its maker's own layout.
  const weights = tensors.filter((f) => !/^consolidated/.test(f.path));
  if (weights.length === 0) {
    const pickle = files.find((f) => /\.(bin|pt|pth|ckpt|pkl)$/.test(f.path));
    throw new Error(
      pickle
        ? `${cannot}found weights only in ${JSON.stringify(pickle.path)}, wanted *.safetensors or *.gguf; a pickle can run code when it is opened`
        : `${cannot}found ${files.length} files, none of them *.safetensors or *.gguf`,
    );
  }
  return [...files.filter((f) => COMPANIONS.test(f.path)), ...weights];
}

function selectGguf({ repo, quant }: HubName, ggufs: readonly RemoteFile[], cannot: string): RemoteFile {
  const quants = [...new Set(ggufs.map((f) => quantOf(f.path) ?? f.path))].sort();
  const offer = `name one: ${quants
    .slice(0, 40)
    .map((q) => `${repo}:${q}`)
    .join(", ")}`;
  if (ggufs.length === 0)
    throw new Error(`${cannot}found no GGUF file, so no quantization ${JSON.stringify(quant)}`);
  const usual = USUAL.find((q) => ggufs.some((f) => quantOf(f.path) === q));
  const wanted = quant ?? usual;
  const found = wanted === undefined ? ggufs : ggufs.filter((f) => matchesQuant(f.path, wanted));
  if (found.length === 0)
    throw new Error(`${cannot}found no quantization ${JSON.stringify(quant)}; ${offer}`);
  const parts = found.filter((f) => /-\d{5}-of-\d{5}\.gguf$/i.test(f.path));
  if (parts.length > 0)
    throw new Error(
      `${cannot}${JSON.stringify(parts[0]!.path)} is one part of several, wanted a model in one GGUF file`,
    );
  const exact = found.filter((f) => quantOf(f.path) === wanted?.toUpperCase());
  const one = exact.length === 1 ? exact : found;
  if (one.length > 1)
    throw new Error(
      `${cannot}found ${one.length} GGUF files: ${one
        .slice(0, 20)
        .map((f) => f.path)
        .join(", ")}; ${offer}`,
    );
  return one[0]!;
}

// Mistral: Llama's block without biases; in the first ones every layer sees a window, in newer ones all.
// Source: transformers, `models/mistral/modeling_mistral.py`.

import type { Definition } from "./definition.ts";
import { windowed, windowFromGguf, windowToGguf } from "./layers.ts";
import { llama } from "./llama.ts";

export const mistral: Definition = {
  ...llama,
  model_type: "mistral",
  architecture: "MistralForCausalLM",
  // GGUF has no name of its own for it. llama.cpp knows no window there: beyond it the two differ.
  gguf: { ...llama.gguf, readConfig: windowFromGguf, writeConfig: windowToGguf },
  sliding: true,

  readConfig: (fields, { num_hidden_layers }) => ({
    attention_bias: false,
    mlp_bias: false,
    ...windowed(fields, num_hidden_layers),
  }),
  writeConfig: ({ sliding_window = null }) => ({
    attention_bias: undefined,
    mlp_bias: undefined,
    layer_types: undefined,
    sliding_window,
  }),
};

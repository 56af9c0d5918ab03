// SmolLM3: Llama's block; every fourth layer does not rotate q and k.
// Source: transformers, `models/smollm3/modeling_smollm3.py`.

import type { Definition } from "./definition.ts";
import { readLayerTypes } from "./layers.ts";
import { llama } from "./llama.ts";

/** What llama.cpp takes for granted of every SmolLM3. */
const INTERVAL = 4;
const rotates = (i: number, interval: number) => ((i + 1) % interval === 0 ? 0 : 1);

export const smollm3: Definition = {
  ...llama,
  model_type: "smollm3",
  architecture: "SmolLM3ForCausalLM",
  gguf: {
    ...llama.gguf,
    architecture: "smollm3",
    readConfig: (_fields, { num_hidden_layers }) => ({
      no_rope_layers: Array.from({ length: num_hidden_layers }, (_, i) => rotates(i, INTERVAL)),
    }),
    writeConfig({ no_rope_layers, layer_types }) {
      const other = no_rope_layers?.findIndex((x, i) => x !== rotates(i, INTERVAL)) ?? 0;
      if (other >= 0)
        throw new TypeError(
          `Cannot write a smollm3 model as GGUF: no_rope_layers[${other}] is ${no_rope_layers?.[other] ?? "missing"}, wanted every fourth layer 0 and the others 1, which is all that GGUF can state`,
        );
      if (layer_types)
        throw new TypeError(
          "Cannot write a smollm3 model as GGUF: it has sliding layers, which GGUF cannot state",
        );
      return [];
    },
  },
  sliding: true,

  readConfig(fields, { num_hidden_layers }) {
    const interval = fields.integer("no_rope_layer_interval", { min: 1, max: 2 ** 20 }, INTERVAL);
    const given = fields.integers("no_rope_layers", { min: 0, max: 1 }, 2 ** 12);
    if (fields.has("no_rope_layers") && given.length !== num_hidden_layers)
      fields.fail("no_rope_layers", given, `${num_hidden_layers} values, one for each of num_hidden_layers`);
    const no_rope_layers = Array.from(
      { length: num_hidden_layers },
      (_, i) => given[i] ?? rotates(i, interval),
    );
    const sliding = fields.boolean("use_sliding_window", false) && fields.has("sliding_window");
    return {
      no_rope_layers,
      ...readLayerTypes(fields, num_hidden_layers, (i) =>
        sliding && no_rope_layers[i] === 0 ? "sliding_attention" : "full_attention",
      ),
    };
  },
  writeConfig: ({ layer_types }) => ({ ...(layer_types && { use_sliding_window: true }) }),
};

// A decoder's forward pass in float64, written once more from the formulas and sharing nothing with the engine: what
// golden logits are made with. Slow and plain on purpose. Takes a raw config.json and Hugging Face's tensor names.

export interface PlainConfig {
  model_type: "llama" | "qwen2";
  hidden_size: number;
  intermediate_size: number;
  num_hidden_layers: number;
  num_attention_heads: number;
  num_key_value_heads: number;
  head_dim: number;
  vocab_size: number;
  max_position_embeddings: number;
  rms_norm_eps: number;
  tie_word_embeddings: boolean;
  attention_bias?: boolean;
  mlp_bias?: boolean;
  rope_theta: number;
  rope_scaling?: {
    rope_type: string;
    factor: number;
    low_freq_factor: number;
    high_freq_factor: number;
    original_max_position_embeddings: number;
  };
}

export type PlainWeights = ReadonlyMap<string, ArrayLike<number>>;

/** Logits [ids.length][vocab_size] of one sequence from position 0. */
export function plainForward(
  config: PlainConfig,
  weights: PlainWeights,
  ids: readonly number[],
): Float64Array[] {
  const c = config;
  const w = (name: string) => {
    const found = weights.get(name);
    if (!found) throw new Error(`no weight ${name}`);
    return found;
  };
  /** y = W x + b, W [out][in] */
  const linear = (name: string, x: Float64Array): Float64Array => {
    const matrix = w(`${name}.weight`);
    const bias = weights.get(`${name}.bias`);
    const out = matrix.length / x.length;
    const y = new Float64Array(out);
    for (let o = 0; o < out; o++) {
      let sum = bias ? bias[o]! : 0;
      for (let i = 0; i < x.length; i++) sum += matrix[o * x.length + i]! * x[i]!;
      y[o] = sum;
    }
    return y;
  };
  const norm = (name: string, x: Float64Array): Float64Array => {
    const mean = x.reduce((sum, v) => sum + v * v, 0) / x.length;
    const gain = w(name);
    return x.map((v, i) => (v / Math.sqrt(mean + c.rms_norm_eps)) * gain[i]!);
  };
  const half = c.head_dim / 2;
  const frequency = Array.from({ length: half }, (_, i) => {
    const f = 1 / c.rope_theta ** (i / half);
    const s = c.rope_scaling;
    if (!s) return f;
    if (s.rope_type === "linear") return f / s.factor;
    const wavelength = (2 * Math.PI) / f;
    const longest = s.original_max_position_embeddings / s.low_freq_factor;
    const shortest = s.original_max_position_embeddings / s.high_freq_factor;
    if (wavelength > longest) return f / s.factor;
    if (wavelength < shortest) return f;
    const smooth =
      (s.original_max_position_embeddings / wavelength - s.low_freq_factor) /
      (s.high_freq_factor - s.low_freq_factor);
    return ((1 - smooth) * f) / s.factor + smooth * f;
  });
  /** One head, turned by its position: a complex number (x[i], x[i + half]) times e^(i · angle). */
  const turn = (x: Float64Array, position: number): Float64Array => {
    const y = new Float64Array(x.length);
    for (let i = 0; i < half; i++) {
      const angle = position * frequency[i]!;
      y[i] = x[i]! * Math.cos(angle) - x[i + half]! * Math.sin(angle);
      y[i + half] = x[i]! * Math.sin(angle) + x[i + half]! * Math.cos(angle);
    }
    return y;
  };
  const split = (x: Float64Array) =>
    Array.from({ length: x.length / c.head_dim }, (_, h) => x.slice(h * c.head_dim, (h + 1) * c.head_dim));

  const embedding = w("model.embed_tokens.weight");
  const xs = ids.map((id) =>
    Float64Array.from({ length: c.hidden_size }, (_, i) => embedding[id * c.hidden_size + i]!),
  );
  for (let layer = 0; layer < c.num_hidden_layers; layer++) {
    const at = `model.layers.${layer}`;
    const keys: Float64Array[][] = [];
    const values: Float64Array[][] = [];
    xs.forEach((x, t) => {
      const h = norm(`${at}.input_layernorm.weight`, x);
      const q = split(linear(`${at}.self_attn.q_proj`, h)).map((head) => turn(head, t));
      keys.push(split(linear(`${at}.self_attn.k_proj`, h)).map((head) => turn(head, t)));
      values.push(split(linear(`${at}.self_attn.v_proj`, h)));
      const mixed = q.flatMap((head, n) => {
        const group = Math.floor(n / (c.num_attention_heads / c.num_key_value_heads));
        const scores = keys.map(
          (k) => k[group]!.reduce((sum, v, d) => sum + v * head[d]!, 0) / Math.sqrt(c.head_dim),
        );
        const top = Math.max(...scores);
        const weightsOf = scores.map((score) => Math.exp(score - top));
        const total = weightsOf.reduce((a, b) => a + b, 0);
        return Array.from({ length: c.head_dim }, (_, d) =>
          weightsOf.reduce((sum, p, u) => sum + (p / total) * values[u]![group]![d]!, 0),
        );
      });
      const attended = linear(`${at}.self_attn.o_proj`, Float64Array.from(mixed));
      const y = x.map((v, i) => v + attended[i]!);
      const g = norm(`${at}.post_attention_layernorm.weight`, y);
      const gate = linear(`${at}.mlp.gate_proj`, g);
      const up = linear(`${at}.mlp.up_proj`, g);
      const inner = gate.map((v, i) => (v / (1 + Math.exp(-v))) * up[i]!);
      const down = linear(`${at}.mlp.down_proj`, inner);
      xs[t] = y.map((v, i) => v + down[i]!);
    });
  }
  const head = c.tie_word_embeddings ? "model.embed_tokens" : "lm_head";
  return xs.map((x) => linear(head, norm("model.norm.weight", x)));
}

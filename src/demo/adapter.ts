// How adapters of a demonstration are trained.

/** Rates far above those of large models: few steps on few examples have to do. */
export const ADAPTER = { rank: 16, alpha: 32, lr: 3e-3, batch_tokens: 1024, max_steps: 140 } as const;

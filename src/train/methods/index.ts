// The methods by name: what an opened model is trained as.

import type { Backend } from "../../engine/backend.ts";
import { type OpenedModel, quantizedModel } from "../../models/index.ts";
import type { MethodTrainable } from "../trainable.ts";
import { type AdapterOptions, adapterTrainable } from "./adapter.ts";
import { fullTrainable } from "./full.ts";
import { ternaryTrainable } from "./ternary.ts";

/**
 * `full`: every parameter. `lora`, `dora`: an adapter over the weights as they are. `qlora`: LoRA over quantized weights;
 * those that are not become NF4 while they are loaded. `ternary`: every parameter, so that the linears do with weights of
 * three values each (see ternary.ts).
 */
export type Method = (typeof METHODS)[number];
export const METHODS = ["lora", "qlora", "dora", "full", "ternary"] as const;

export interface MethodOptions extends Omit<AdapterOptions, "dora"> {
  /** Default "lora". */
  readonly method?: Method;
}

/**
 * What `method` trains of a model, loaded on a backend.
 * @throws {TypeError | RangeError} as `adapterTrainable` and `fullTrainable`; for an encoder
 */
export async function openTrainable(
  model: OpenedModel,
  backend: Backend,
  { method = "lora", ...options }: MethodOptions = {},
): Promise<MethodTrainable> {
  const what = `Cannot train ${JSON.stringify(model.name)}`;
  if (!METHODS.includes(method))
    throw new TypeError(
      `${what} by the method ${JSON.stringify(method)}: wanted ${METHODS.slice(0, -1).join(", ")} or ${METHODS.at(-1)}`,
    );
  if (model.definition.encoder)
    throw new TypeError(`${what}: ${model.config.model_type} is an encoder, wanted a model that generates`);
  if (!trainsAll(method)) {
    const base = method === "qlora" ? quantizedModel(model, "nf4") : model;
    return adapterTrainable(base, backend, { ...options, dora: method === "dora" });
  }
  const { signal, onProgress: _onProgress, seed: _seed, ...others } = options;
  const unused = Object.entries(others).find(([, value]) => value !== undefined);
  if (unused)
    throw new TypeError(`${what} by the method "${method}" with ${unused[0]}: wanted it only for an adapter`);
  const given = signal ? { signal } : {};
  return method === "full" ? fullTrainable(model, backend, given) : ternaryTrainable(model, backend, given);
}

/** Whether a method trains the weights themselves, and no adapter. */
export const trainsAll = (method: string): method is "full" | "ternary" =>
  method === "full" || method === "ternary";

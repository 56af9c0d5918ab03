// pith inspect: what a model is, from its headers.

import {
  type AdapterInspection,
  type Inspection,
  inspectAdapter,
  inspect as inspectModel,
  isAdapter,
  openAdapter,
  openModel,
} from "../models/index.ts";
import { bytes, figure, printJson, printTable } from "./output.ts";

export async function inspect(nameOrPath: string, options: { ctx?: number; json?: boolean }): Promise<void> {
  if (await isAdapter(nameOrPath)) return ofAdapter(nameOrPath, options.json);
  const model = await openModel(nameOrPath);
  try {
    const result = await inspectModel(model, options.ctx === undefined ? undefined : [options.ctx]);
    if (options.json) printJson(result);
    else printTable(lines(result));
  } finally {
    await model.close();
  }
}

async function ofAdapter(path: string, json: boolean | undefined): Promise<void> {
  const adapter = await openAdapter(path);
  try {
    const result = inspectAdapter(adapter);
    if (json) printJson(result);
    else printTable(adapterLines(result));
  } finally {
    await adapter.close();
  }
}

function adapterLines(adapter: AdapterInspection): [string, string][] {
  const range = ([from, to]: readonly [number, number]) =>
    from === to ? figure(from) : `${figure(from)} to ${figure(to)}`;
  return [
    ["adapter", `${adapter.name} (${adapter.format})`],
    ["made for", adapter.made_for ?? "it does not say"],
    ["method", adapter.dora ? "DoRA" : "LoRA"],
    ["rank", figure(adapter.rank)],
    ["parameters", `${figure(adapter.parameters)}, ${bytes(adapter.bytes)}`],
    ...adapter.modules.map(({ name, count, rank, scale }): [string, string] => [
      "",
      `${name}: ${figure(count)} pairs, rank ${range(rank)}, scale ${range(scale)}`,
    ]),
    ...adapter.saved.map((name): [string, string] => ["", `${name}: whole`]),
    ["digest", adapter.digest],
  ];
}

function lines(model: Inspection): [string, string][] {
  const c = model.config;
  const rows: [string, string][] = [
    ["model", `${model.name} (${model.format})`],
    [
      "architecture",
      `${c.model_type}: ${c.num_hidden_layers} layers of ${c.hidden_size}, ${c.num_attention_heads} heads (${c.num_key_value_heads} key-value) of ${c.head_dim}, feed-forward ${c.intermediate_size}`,
    ],
    ["parameters", figure(model.parameters)],
    [
      "weights",
      `${bytes(model.bytes)}, ${model.bits_per_weight.toFixed(2)} bits a weight, head ${model.head_type ?? "absent"}`,
    ],
  ];
  for (const type of model.types)
    rows.push([
      "",
      `${type.type}: ${figure(type.tensors)} tensors, ${figure(type.parameters)} parameters, ${bytes(type.bytes)}`,
    ]);
  rows.push(["context", `${figure(model.context_length)} tokens`]);
  for (const m of model.memory)
    rows.push([
      "memory",
      `${bytes(m.total)} at ${figure(m.ctx)} tokens, ${m.kv} cache (weights ${bytes(m.weights)}, cache ${bytes(m.cache)}, work ${bytes(m.work)})`,
    ]);
  rows.push(...tokenizerLines(model.tokenizer));
  const listed = (names: readonly string[]) =>
    `${names.length}: ${names.slice(0, 8).join(", ")}${names.length > 8 ? ", ..." : ""}`;
  if (model.missing.length > 0) rows.push(["missing", listed(model.missing)]);
  if (model.unused.length > 0) rows.push(["not used", listed(model.unused)]);
  return rows;
}

function tokenizerLines(tokenizer: Inspection["tokenizer"]): [string, string][] {
  if ("error" in tokenizer) return [["tokenizer", tokenizer.error]];
  const spelt = (id: number) => tokenizer.special.find((token) => token.id === id)?.text ?? String(id);
  const begin =
    tokenizer.bos === undefined || !tokenizer.adds_bos ? "" : `, begins with ${spelt(tokenizer.bos)}`;
  const end = tokenizer.eos.length > 0 ? `, ends with ${tokenizer.eos.map(spelt).join(" or ")}` : "";
  return [
    ["tokenizer", `${figure(tokenizer.vocabulary)} tokens${begin}${end}`],
    ["chat template", tokenizer.chat_template ? "yes" : "none"],
  ];
}

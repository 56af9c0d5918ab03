// A student that does not exist yet: a config or measures, random weights, and the tokenizer of its teacher. It is an opened
// model like any other, whose tensors are made when they are read.

import { definitionOf, type OpenedModel, parseConfig } from "../models/index.ts";
import { configOfShape, initialParameter, type ModelShape, readJson } from "../train/index.ts";

/** A model to be made: a config.json (its vocab_size is the teacher's), or its measures. */
export interface NewStudent {
  readonly config: string | ModelShape;
  /** Of its first weights. Default 0. */
  readonly seed?: number;
  /** Deviation of its first weights. Default: the config's, else 0.02. */
  readonly initializer_range?: number;
}

/** Tensors that were read last stay in memory, since they are read in pieces. */
const KEPT = 1;

/** @throws {Error} naming the file or field that is wrong */
export async function openNewStudent(student: NewStudent, teacher: OpenedModel): Promise<OpenedModel> {
  const { config: wanted, seed = 0 } = student;
  const [file, given] =
    typeof wanted === "string"
      ? [wanted, await readJson(wanted)]
      : ["the new student", configOfShape(wanted) as Record<string, unknown>];
  const { vocab_size, bos_token_id, pad_token_id, eos_token_id } = teacher.config;
  const complete = {
    ...given,
    vocab_size,
    ...(bos_token_id !== undefined && { bos_token_id }),
    ...(pad_token_id !== undefined && { pad_token_id }),
    eos_token_id,
  };
  const config = parseConfig(file, JSON.stringify(complete));
  const definition = definitionOf(config.model_type, file);
  const deviation =
    student.initializer_range ??
    (typeof given.initializer_range === "number" ? given.initializer_range : undefined);
  const made = new Map<string, Uint8Array>();
  const bytesOf = (index: number, name: string, shape: readonly number[]): Uint8Array => {
    const known = made.get(name);
    if (known) return known;
    if (made.size >= KEPT) made.clear();
    const bytes = new Uint8Array(initialParameter(config, seed, index, name, shape, deviation).buffer);
    made.set(name, bytes);
    return bytes;
  };
  const tensors = new Map(
    [...definition.params(config)].map(([name, shape], index) => {
      const bytes = 4 * shape.reduce((a, b) => a * b, 1);
      const source = {
        name: file,
        size: bytes,
        read: async (offset: number, length: number) =>
          bytesOf(index, name, shape).slice(offset, offset + length),
        async close() {},
      };
      return [name, { name, type: "f32" as const, shape, offset: 0, bytes, source }];
    }),
  );
  return {
    name: file,
    kind: teacher.kind,
    config,
    definition,
    generationConfig: teacher.generationConfig,
    tensors,
    unused: [],
    tokenizerFolder: teacher.tokenizerFolder ?? teacher.name,
    tokenizer: () => teacher.tokenizer(),
    close: async () => made.clear(),
  };
}

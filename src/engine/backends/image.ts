/**
 * A planned program as int32 words for C++ (layout: kernels/program.h, which checks it again). Shared by native and WASM.
 */
import type { Dims } from "../backend.ts";
import { OPS } from "../ops/index.ts";
import { type Plan, tensorBytes } from "../plan.ts";
import type { Program } from "../program.ts";
import { type Node, symbol, type Tensor } from "../tensor.ts";

const MAGIC = 0x68746970;
const VERSION = 1;
const ARENA = 0;
const SLOT = 1;
const INPUT = 2;
const SYMBOLS = { T: 1, S: 2, R: 3 } as const;
/** Numbers of F32 and I32 in kernels/pith.h. */
const TYPES = { f32: 0, i32: 1 } as const;
const ALIGN = 64;
const RANK = 3;

export interface Image {
  readonly words: Int32Array;
  /** Params and states by slot number. */
  readonly slots: readonly Tensor[];
  /** Byte offsets of inputs in the input block. */
  readonly inputs: ReadonlyMap<Tensor, number>;
}

/**
 * @param kernels names of the kernels, by opcode
 * @throws {Error} when a row has no kernel
 * @throws {RangeError} when a tensor has more than three dimensions
 */
export function encodeImage(program: Program, plan: Plan, maxima: Dims, kernels: readonly string[]): Image {
  const opcodes = new Map(kernels.map((name, i) => [name, i]));
  const slots = [...program.params, ...program.states];
  const slotOf = new Map(slots.map((tensor, i) => [tensor, i]));
  const inputs = new Map<Tensor, number>();
  let inputBytes = 0;
  for (const tensor of program.inputs) {
    inputs.set(tensor, inputBytes);
    inputBytes += Math.ceil(tensorBytes(tensor, maxima) / ALIGN) * ALIGN;
  }

  const words: number[] = [];
  const long = (bytes: number) => words.push(bytes | 0, Math.floor(bytes / 2 ** 32));
  const nodes = program.nodes.map((node, i) => ({ node, i })).filter(({ node }) => node.op !== "reshape");
  const tensors = new Map<Tensor, number>();
  for (const { node } of nodes)
    for (const t of [...node.outputs, ...node.inputs]) if (!tensors.has(t)) tensors.set(t, tensors.size);

  words.push(MAGIC, VERSION, tensors.size, nodes.length, slots.length);
  long(plan.arenaBytes);
  long(inputBytes);
  words.push(maxima.T, maxima.S, maxima.R);

  for (const t of tensors.keys()) {
    const root = plan.root(t);
    const slot = slotOf.get(root);
    words.push(slot !== undefined ? SLOT : inputs.has(root) ? INPUT : ARENA, slot ?? 0);
    long(slot !== undefined ? 0 : (inputs.get(root) ?? plan.place.get(t)!));
    const sym = symbol(t.shape);
    if (t.shape.length > RANK)
      throw new RangeError(
        `Cannot compile a tensor of shape [${t.shape}]: ${t.shape.length} dimensions, wanted at most ${RANK}`,
      );
    const dims = t.shape.map((d) => (typeof d === "number" ? d : 0));
    words.push(TYPES[t.dtype], sym ? SYMBOLS[sym] : 0, dims.length);
    words.push(...Array<number>(RANK - dims.length).fill(1), ...dims);
  }

  for (const { node, i } of nodes) {
    const opcode = opcodes.get(node.op);
    if (opcode === undefined)
      throw new Error(
        `Cannot compile a program: there is no kernel "${node.op}", only ${kernels.join(", ")}`,
      );
    const { ints, floats } = attributes(node);
    words.push(opcode, plan.barriers[i] ? 1 : 0);
    words.push(node.outputs.length, node.inputs.length, ints.length, floats.length);
    for (const t of [...node.outputs, ...node.inputs]) words.push(tensors.get(t)!);
    words.push(...ints, ...new Int32Array(Float32Array.from(floats).buffer));
  }
  return { words: Int32Array.from(words), slots, inputs };
}

function attributes(node: Node): { ints: number[]; floats: number[] } {
  const { ints = [], floats = [] } = OPS[node.op].encode?.(node.attrs, node.inputs) ?? {};
  for (const value of ints)
    if (value !== (value | 0))
      throw new RangeError(`Cannot compile ${node.op}: attribute ${value} is not an integer of 32 bits`);
  return { ints, floats };
}

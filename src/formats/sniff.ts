// What a file is by its first bytes, whatever its name says. Only GGUF and safetensors are opened; formats
// that are known and refused (pickles run code when opened) get a line that says what to do instead.

import type { Source } from "./source.ts";

const HEAD_BYTES = 512;

const CONVERT = "convert the model to safetensors where it came from (save_pretrained writes it)";

/** Formats recognised only to be refused: the first bytes, what it is, what to do. */
const REFUSED: readonly { magic: string; at?: number; is: string; hint: string }[] = [
  { magic: "PK\x03\x04", is: "a zip archive (PyTorch .pt/.bin or NumPy .npz)", hint: CONVERT },
  { magic: "PK\x05\x06", is: "an empty zip archive", hint: CONVERT },
  { magic: "\x89HDF\r\n\x1a\n", is: "an HDF5 file (.h5)", hint: CONVERT },
  { magic: "\x93NUMPY", is: "a NumPy array (.npy)", hint: CONVERT },
  { magic: "\x1f\x8b", is: "a gzip archive", hint: "unpack it first" },
  { magic: "ustar", at: 257, is: "a tar archive", hint: "unpack it first" },
  { magic: "lmgg", is: "a GGML file from before GGUF", hint: "get the model as GGUF" },
  { magic: "fmgg", is: "a GGML file from before GGUF", hint: "get the model as GGUF" },
  { magic: "tjgg", is: "a GGML file from before GGUF", hint: "get the model as GGUF" },
  { magic: "algg", is: "a GGML adapter from before GGUF", hint: "get the adapter as safetensors" },
  { magic: "FUGG", is: "a big-endian GGUF file", hint: "convert it to little-endian" },
  {
    magic: "version https://git-lfs",
    is: "a Git LFS pointer, not the file itself",
    hint: "fetch the file with git lfs pull",
  },
  { magic: "<!DOCTYPE", is: "a web page", hint: "download the file itself" },
  { magic: "<html", is: "a web page", hint: "download the file itself" },
];

/**
 * Which of the two formats `source` is.
 * @throws {SyntaxError} when it is neither, with what it is when that is known.
 */
export async function sniff(source: Source): Promise<"gguf" | "safetensors"> {
  const head = await source.read(0, Math.min(HEAD_BYTES, source.size));
  if (startsWith(head, "GGUF")) return "gguf";
  // A safetensors file begins with the length of its JSON header, which could be any bytes: look at both.
  if (head.length >= 9 && head[8] === 0x7b && headerLength(head) <= source.size - 8) return "safetensors";
  throw notA("GGUF or safetensors file", source, head);
}

/** The error for a file that is not the `wanted` one; `head` is its first bytes. */
export function notA(wanted: string, source: Source, head: Uint8Array): SyntaxError {
  const action = `Cannot read ${JSON.stringify(source.name)}: found`;
  const refused = REFUSED.find(({ magic, at }) => startsWith(head, magic, at));
  if (refused) return new SyntaxError(`${action} ${refused.is}, want a ${wanted}; ${refused.hint}`);
  if (isPickle(head)) {
    return new SyntaxError(
      `${action} a pickle, which can run code when it is opened, want a ${wanted}; ${CONVERT}`,
    );
  }
  if (head.length === 0) return new SyntaxError(`${action} an empty file, want a ${wanted}`);
  const bytes = Array.from(head.subarray(0, 8), (b) => b.toString(16).padStart(2, "0")).join(" ");
  return new SyntaxError(`${action} first bytes ${bytes}, want a ${wanted}`);
}

/** Protocol 2 to 5 pickles open with their protocol; torch's oldest files and protocol 0 with an opcode. */
function isPickle(head: Uint8Array): boolean {
  if (head[0] === 0x80 && head[1]! >= 2 && head[1]! <= 5) return true;
  return startsWith(head, "(dp") || startsWith(head, "(lp") || startsWith(head, "ccollections\n");
}

function headerLength(head: Uint8Array): number {
  return Number(new DataView(head.buffer, head.byteOffset).getBigUint64(0, true));
}

function startsWith(bytes: Uint8Array, magic: string, at = 0): boolean {
  for (let i = 0; i < magic.length; i++) if (bytes[at + i] !== magic.charCodeAt(i)) return false;
  return true;
}

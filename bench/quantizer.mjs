// The prebuilt llama.cpp of node-llama-cpp as a quantizer: files as it writes them, of types that pith only reads.
import { execFileSync } from "node:child_process";
import { existsSync, readdirSync, statSync } from "node:fs";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { cache } from "./models.mjs";

/** llama.cpp's numbers of what a file may mostly be. "Default" mixes: those of the M sizes where there are some. */
export const MOSTLY = {
  q4_0: 2,
  q4_1: 3,
  q8_0: 7,
  q5_0: 8,
  q5_1: 9,
  q2_k: 10,
  q3_k: 12,
  q4_k: 15,
  q5_k: 17,
  q6_k: 18,
  iq4_nl: 25,
  iq4_xs: 30,
  tq1_0: 36,
  tq2_0: 37,
};

/**
 * A function that writes a file from another one of floats; "pure": every matrix of that type, or where its width does
 * not allow it, of what llama.cpp takes instead. Undefined where the package or a C compiler is missing.
 * @returns {((from: string, to: string, type: keyof typeof MOSTLY, variant: "pure" | "default") => void) | undefined}
 */
export function llamaQuantizer() {
  const packages = fileURLToPath(new URL("./peers/node_modules/@node-llama-cpp", import.meta.url));
  const folder = join(
    packages,
    `${process.platform}-${process.arch}/bins/${process.platform}-${process.arch}`,
  );
  const library =
    existsSync(folder) && readdirSync(folder).find((name) => /^libllama\.(?!common)/.test(name));
  if (!library) return undefined;
  const source = fileURLToPath(new URL("./peers/quantize.c", import.meta.url));
  const program = join(cache, "quantize-any");
  if (!existsSync(program) || statSync(program).mtimeMs < statSync(source).mtimeMs) {
    execFileSync(process.env.CC ?? "cc", ["-O1", source, "-o", program, "-ldl"]);
  }
  return (from, to, type, variant) => {
    execFileSync(program, [join(folder, library), from, to, `${MOSTLY[type]}`, variant], { stdio: "ignore" });
  };
}

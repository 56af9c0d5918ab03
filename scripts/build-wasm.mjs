// Builds the WebAssembly modules from kernels/ with clang 19 and lld 19 (Debian: clang-19 lld-19), no libc. The files are
// kept in the tree, so that users need no compiler for them; the same compiler makes the same bytes.
//
//   node scripts/build-wasm.mjs            writes wasm/pith-relaxed.wasm and wasm/pith-simd.wasm
//     --check    builds elsewhere and compares: ends with 1 when the bytes differ
//     --strict   ends with 1 also when there is no such compiler (otherwise it says so and ends with 0)

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const check = process.argv.includes("--check");

/** Each file and what it may use beyond 128-bit SIMD. */
const BUILDS = { "pith-simd.wasm": [], "pith-relaxed.wasm": ["-mrelaxed-simd"] };
const SOURCES = ["isa_wasm.cc", "pack.cc", "program.cc", "wasm.cc"];
const FLAGS = [
  "--target=wasm32",
  "-std=c++20",
  "-O3",
  "-msimd128",
  "-mbulk-memory",
  "-matomics",
  "-ffp-contract=off",
  ..."-nostdlib -ffreestanding -fno-exceptions -fno-rtti -fvisibility=hidden".split(" "),
  ..."-Wall -Wextra -Wno-unused-function".split(" "),
  // No paths in the output.
  "-ffile-prefix-map=kernels=.",
  "-Wl,--no-entry,--gc-sections,--strip-all",
  // The stack lies below all data, so that an overflow traps.
  "-Wl,--stack-first,-z,stack-size=1048576",
  // Threads share the memory, so it is imported; the loader makes it unshared where there are none.
  "-Wl,--import-memory,--shared-memory,--initial-memory=2097152,--max-memory=4294967296",
  // Each thread has a stack of its own.
  "-Wl,--export=__stack_pointer",
];

function findClang() {
  for (const name of [process.env.WASM_CXX, "clang++-19", "clang++"]) {
    if (!name) continue;
    const found = spawnSync(name, ["--version"], { encoding: "utf8" });
    if (found.status === 0 && /clang version 19\./.test(found.stdout)) return name;
  }
  return undefined;
}

/** @param {string} clang @param {string} name @returns {boolean} whether all is well */
function build(clang, name) {
  const target = join(root, "wasm", name);
  const folder = check ? mkdtempSync(join(tmpdir(), "pith-wasm-")) : dirname(target);
  mkdirSync(folder, { recursive: true });
  const output = join(folder, name);
  try {
    // Relative names, from the same place: nothing of this machine gets into the output.
    const sources = SOURCES.map((source) => `kernels/${source}`);
    const built = spawnSync(clang, [...FLAGS, ...BUILDS[name], "-o", output, ...sources], {
      cwd: root,
      encoding: "utf8",
    });
    process.stderr.write(built.stderr);
    if (built.status !== 0) {
      console.error(`pith: wasm/${name} not built: ${clang} ended with ${built.status}`);
      return false;
    }
    const [bytes, kept] = [output, target].map((path) => readFileSync(path));
    const sum = (data) => createHash("sha256").update(data).digest("hex").slice(0, 16);
    if (check && !bytes.equals(kept)) {
      console.error(
        `pith: wasm/${name} is not what kernels/ makes: found ${kept.length} bytes, ${sum(kept)}, wanted ${bytes.length} bytes, ${sum(bytes)}`,
      );
      return false;
    }
    console.log(`pith: ${check ? "checked" : "built"} wasm/${name} (${bytes.length} bytes, ${sum(bytes)})`);
    return true;
  } finally {
    if (check) rmSync(folder, { recursive: true });
  }
}

const clang = findClang();
if (!clang) {
  console.error(
    "pith: the WebAssembly modules were not built: clang 19 was not found (clang++-19, clang++, or the one in WASM_CXX)",
  );
  process.exit(process.argv.includes("--strict") ? 1 : 0);
}
for (const name of Object.keys(BUILDS)) if (!build(clang, name)) process.exitCode = 1;

// Builds wasm/pith.wasm from kernels/ with clang 19 and lld 19 (Debian: clang-19 lld-19), no libc. The file is kept in the
// tree, so that users need no compiler for it; the same compiler makes the same bytes.
//
//   node scripts/build-wasm.mjs            writes wasm/pith.wasm
//     --check    builds elsewhere and compares: ends with 1 when the bytes differ
//     --strict   ends with 1 also when there is no such compiler (otherwise it says so and ends with 0)

import { spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { mkdirSync, mkdtempSync, readFileSync, rmSync } from "node:fs";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const target = join(root, "wasm", "pith.wasm");
const check = process.argv.includes("--check");

const SOURCES = ["isa_wasm.cc", "pack.cc", "program.cc", "wasm.cc"];
const FLAGS = [
  "--target=wasm32",
  "-std=c++20",
  "-O3",
  "-msimd128",
  "-mbulk-memory",
  "-ffp-contract=off",
  ..."-nostdlib -ffreestanding -fno-exceptions -fno-rtti -fvisibility=hidden".split(" "),
  ..."-Wall -Wextra -Wno-unused-function".split(" "),
  // No paths in the output.
  "-ffile-prefix-map=kernels=.",
  "-Wl,--no-entry,--gc-sections,--strip-all",
  // The stack lies below all data, so that an overflow traps.
  "-Wl,--stack-first,-z,stack-size=1048576",
  "-Wl,--max-memory=4294967296",
];

function findClang() {
  for (const name of [process.env.WASM_CXX, "clang++-19", "clang++"]) {
    if (!name) continue;
    const found = spawnSync(name, ["--version"], { encoding: "utf8" });
    if (found.status === 0 && /clang version 19\./.test(found.stdout)) return name;
  }
  return undefined;
}

const clang = findClang();
if (!clang) {
  console.error(
    "pith: wasm/pith.wasm not built: clang 19 was not found (clang++-19, clang++, or the one in WASM_CXX)",
  );
  process.exit(process.argv.includes("--strict") ? 1 : 0);
}
const folder = check ? mkdtempSync(join(tmpdir(), "pith-wasm-")) : dirname(target);
mkdirSync(folder, { recursive: true });
const output = check ? join(folder, "pith.wasm") : target;
try {
  // Relative names, from the same place: nothing of this machine gets into the output.
  const built = spawnSync(clang, [...FLAGS, "-o", output, ...SOURCES.map((name) => `kernels/${name}`)], {
    cwd: root,
    encoding: "utf8",
  });
  process.stderr.write(built.stderr);
  if (built.status !== 0) {
    console.error(`pith: wasm/pith.wasm not built: ${clang} ended with ${built.status}`);
    process.exitCode = 1;
  } else {
    const [bytes, kept] = [output, target].map((path) => readFileSync(path));
    const sum = (data) => createHash("sha256").update(data).digest("hex").slice(0, 16);
    if (check && !bytes.equals(kept)) {
      console.error(
        `pith: wasm/pith.wasm is not what kernels/ makes: found ${kept.length} bytes, ${sum(kept)}, wanted ${bytes.length} bytes, ${sum(bytes)}`,
      );
      process.exitCode = 1;
    } else {
      console.log(
        `pith: ${check ? "checked" : "built"} wasm/pith.wasm (${bytes.length} bytes, ${sum(bytes)})`,
      );
    }
  }
} finally {
  if (check) rmSync(folder, { recursive: true });
}

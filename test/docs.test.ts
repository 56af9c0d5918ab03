/** The README's examples run: every ```ts block against the sources, in a folder of the repository. */
import { execFile } from "node:child_process";
import { mkdtempSync, readFileSync, rmSync, writeFileSync } from "node:fs";
import { join, resolve } from "node:path";
import { promisify } from "node:util";
import { expect, test } from "vitest";

const ROOT = resolve(import.meta.dirname, "..");
const run = promisify(execFile);
const blocks = [...readFileSync(join(ROOT, "README.md"), "utf8").matchAll(/```ts\n(.*?)```/gs)].map(
  (m) => m[1]!,
);

test("the README has examples", () => expect(blocks.length).toBeGreaterThan(1));

test.each(blocks.map((code, i) => [i + 1, code] as const))(
  "README example %i runs and prints",
  async (_i, code) => {
    const dir = mkdtempSync(join(ROOT, "node_modules/.readme-"));
    try {
      // `pith` resolves to this package by its own name; the build must be there (npm install made it).
      const { transpileModule, ModuleKind, ScriptTarget } = await import("typescript");
      const options = { module: ModuleKind.ESNext, target: ScriptTarget.ES2022 };
      const js = transpileModule(code, { compilerOptions: options }).outputText;
      const file = join(dir, "example.mjs");
      writeFileSync(file, js.replaceAll('"pith"', JSON.stringify(join(ROOT, "dist/index.js"))));
      const { stdout } = await run(process.execPath, [file], { cwd: ROOT });
      expect(stdout.length).toBeGreaterThan(20);
    } finally {
      rmSync(dir, { recursive: true });
    }
  },
);

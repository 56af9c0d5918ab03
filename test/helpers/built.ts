// The sources as JavaScript in a folder, for tests that need a process of their own.

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, resolve } from "node:path";
import ts from "typescript";

const SRC = resolve(import.meta.dirname, "../../src");

/** Writes folders of `src` to `out` with their types stripped; `out/<folder>/<file>.js` can be imported by Node. */
export async function buildFolders(out: string, folders: readonly string[]): Promise<void> {
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "package.json"), '{"type":"module"}');
  for (const folder of folders)
    for (const file of await readdir(join(SRC, folder), { recursive: true })) {
      if (!file.endsWith(".ts") || file.endsWith(".test.ts")) continue;
      const { outputText } = ts.transpileModule(await readFile(join(SRC, folder, file), "utf8"), {
        compilerOptions: {
          module: ts.ModuleKind.ESNext,
          target: ts.ScriptTarget.ES2023,
          rewriteRelativeImportExtensions: true,
          verbatimModuleSyntax: true,
        },
      });
      const path = join(out, folder, file.replace(/\.ts$/, ".js"));
      await mkdir(dirname(path), { recursive: true });
      await writeFile(path, outputText);
    }
}

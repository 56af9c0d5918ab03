// The sources as JavaScript in a folder, for tests that need a process of their own.

import { mkdir, readdir, readFile, writeFile } from "node:fs/promises";
import { dirname, join, relative, resolve } from "node:path";
import ts from "typescript";

const SRC = resolve(import.meta.dirname, "../../src");

/**
 * Writes folders of `src`, and what they import, to `out` with their types stripped; `out/<folder>/<file>.js` can be
 * imported by Node.
 */
export async function buildFolders(out: string, folders: readonly string[]): Promise<void> {
  await mkdir(out, { recursive: true });
  await writeFile(join(out, "package.json"), '{"type":"module"}');
  const files = new Set<string>();
  for (const folder of folders)
    for (const file of await readdir(join(SRC, folder), { recursive: true }))
      if (file.endsWith(".ts") && !file.endsWith(".test.ts")) files.add(join(SRC, folder, file));
  // A set visits what is added on the way.
  for (const file of files) {
    const { outputText } = ts.transpileModule(await readFile(file, "utf8"), {
      compilerOptions: {
        module: ts.ModuleKind.ESNext,
        target: ts.ScriptTarget.ES2023,
        rewriteRelativeImportExtensions: true,
        verbatimModuleSyntax: true,
      },
    });
    for (const { fileName } of ts.preProcessFile(outputText).importedFiles)
      if (fileName.startsWith(".")) files.add(resolve(dirname(file), fileName.replace(/\.js$/, ".ts")));
    const path = join(out, relative(SRC, file).replace(/\.ts$/, ".js"));
    await mkdir(dirname(path), { recursive: true });
    await writeFile(path, outputText);
  }
}

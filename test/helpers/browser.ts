// A browser for tests: this repository served over HTTP, TypeScript stripped of its types on the way and nothing bundled,
// with or without the headers that let pages share memory; and Chromium, where the machine has one.
import { existsSync, statSync } from "node:fs";
import { readFile } from "node:fs/promises";
import { createServer } from "node:http";
import type { AddressInfo } from "node:net";
import { extname, join, normalize, resolve } from "node:path";
import { type Browser, chromium } from "playwright-core";
import ts from "typescript";

const ROOT = resolve(import.meta.dirname, "../..");
const TYPES: Record<string, string> = {
  ".html": "text/html",
  ".js": "text/javascript",
  ".ts": "text/javascript",
  ".json": "application/json",
  ".wasm": "application/wasm",
};

/** The first Chromium there is: `CHROMIUM`, or where distributions put it. */
export const CHROMIUM = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
].find((path) => path && existsSync(path));

export function launch(): Promise<Browser> {
  return chromium.launch({ executablePath: CHROMIUM!, args: ["--no-sandbox"] });
}

/** Serves the repository on a port of its own; `isolated`: with COOP and COEP. An empty page is at /page.html. */
export async function serve(isolated: boolean): Promise<{ url: string; close(): void }> {
  const server = createServer(async (request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url!, "http://local").pathname));
    const file = join(ROOT, path);
    if (isolated) {
      response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
      response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    }
    response.setHeader("Content-Type", TYPES[extname(path)] ?? "application/octet-stream");
    if (path === "/page.html") return response.end("<!doctype html><title>pith</title>");
    if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    const bytes = await readFile(file);
    response.end(extname(path) === ".ts" ? strip(bytes.toString(), path) : bytes);
  });
  await new Promise<void>((done) => server.listen(0, "127.0.0.1", done));
  const { port } = server.address() as AddressInfo;
  return { url: `http://127.0.0.1:${port}`, close: () => server.close() };
}

function strip(source: string, fileName: string): string {
  const { ESNext: target } = ts.ScriptTarget;
  const compilerOptions = { target, module: ts.ModuleKind.ESNext, verbatimModuleSyntax: true };
  return ts.transpileModule(source, { fileName, compilerOptions }).outputText;
}

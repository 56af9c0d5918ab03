// Chromium for bench/wasm.mjs: serves this repository with the headers that let a page share memory, and calls what
// bench/wasm-page.mjs exports. Needs playwright-core (npm install) and a Chromium on the machine, or CHROMIUM=<path>.
import { createReadStream, existsSync, statSync } from "node:fs";
import { createServer } from "node:http";
import { extname, join, normalize } from "node:path";
import { fileURLToPath } from "node:url";
import { chromium } from "playwright-core";

const root = fileURLToPath(new URL("..", import.meta.url));
const MIME = { ".js": "text/javascript", ".mjs": "text/javascript", ".wasm": "application/wasm" };
const places = [
  process.env.CHROMIUM,
  "/usr/bin/chromium",
  "/usr/bin/chromium-browser",
  "/usr/bin/google-chrome",
];

/** Whether wllama is there: npm install in bench/peers. */
export const hasWllama = existsSync(join(root, "bench/peers/node_modules/@wllama/wllama"));

/** @param {string} model path of a GGUF file, which pages find at /model.gguf */
export async function browser(model) {
  const executablePath = places.find((path) => path && existsSync(path));
  if (!executablePath) throw new Error("Cannot start Chromium: found none, wanted its path in CHROMIUM");
  const server = createServer((request, response) => {
    const path = normalize(decodeURIComponent(new URL(request.url ?? "/", "http://local").pathname));
    const file = path === "/model.gguf" ? model : join(root, path);
    response.setHeader("Cross-Origin-Opener-Policy", "same-origin");
    response.setHeader("Cross-Origin-Embedder-Policy", "require-corp");
    response.setHeader("Cross-Origin-Resource-Policy", "same-origin");
    response.setHeader("Content-Type", MIME[extname(path)] ?? "text/html");
    if (path === "/page.html") return response.end("<!doctype html><title>bench</title>");
    if (!existsSync(file) || !statSync(file).isFile()) return response.writeHead(404).end();
    response.setHeader("Content-Length", statSync(file).size);
    createReadStream(file).pipe(response);
  });
  await new Promise((done) => server.listen(0, "127.0.0.1", () => done(undefined)));
  const { port } = /** @type {import("node:net").AddressInfo} */ (server.address());
  const chrome = await chromium.launch({ executablePath, args: ["--no-sandbox"] });
  return {
    version: chrome.version(),
    /** An engine in a page of its own. @param {"pith" | "wllama"} name @param {object} options */
    async engine(name, options) {
      const page = await chrome.newPage();
      page.on("pageerror", (error) => console.error(`${name}: ${error.message}`));
      await page.goto(`http://127.0.0.1:${port}/page.html`);
      const about = await page.evaluate(
        `import("/bench/wasm-page.mjs").then(async (page) => {
          globalThis.engine = await page.${name}(${JSON.stringify({ model: "/model.gguf", ...options })});
          return engine.about;
        })`,
      );
      const ask = (/** @type {string} */ call) =>
        /** @type {Promise<number>} */ (page.evaluate(`engine.${call}`));
      return {
        about: String(about),
        /** ms a token @param {number} past @param {number} tokens */
        decode: (past, tokens) => ask(`decode(${past}, ${tokens})`),
        /** @param {number} tokens */
        prefill: (tokens) => ask(`prefill(${tokens})`),
        close: () => page.close(),
      };
    },
    async close() {
      await chrome.close();
      server.close();
    },
  };
}

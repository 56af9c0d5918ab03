// The engine in Chromium: its sources as they are, unbundled, so that an import of Node's would break it. With memory
// that threads share and, on a page without COOP and COEP, without.
import { readFileSync } from "node:fs";
import { join } from "node:path";
import type { Browser, Page } from "playwright-core";
import { afterAll, beforeAll, describe, expect, test } from "vitest";
import { CHROMIUM, launch, serve } from "./helpers/browser.ts";
import { type Answer, story } from "./helpers/browser-page.ts";

const MODEL = join(import.meta.dirname, "../models/stories");
const TOKENS = 60;

describe.skipIf(!CHROMIUM)("in Chromium (there is none, and CHROMIUM names none: skipped)", () => {
  let browser: Browser;
  beforeAll(async () => {
    browser = await launch();
  });
  afterAll(() => browser?.close());

  describe.each([
    { isolated: true, threads: 2 },
    { isolated: false, threads: 1 },
  ])("memory shared: $isolated", ({ isolated, threads }) => {
    let server: Awaited<ReturnType<typeof serve>>;
    let page: Page;
    const errors: string[] = [];
    beforeAll(async () => {
      server = await serve(isolated);
      page = await browser.newPage();
      page.on("pageerror", (error) => errors.push(error.message));
      await page.goto(`${server.url}/page.html`);
    });
    afterAll(async () => {
      await page?.close();
      server?.close();
    });

    test.each(["relaxed-simd", "simd128"])("conformance, %s", { timeout: 60_000 }, async (kernels) => {
      const options = JSON.stringify({ kernels, threads: 2, smallWork: 0 });
      const answer: Answer<string[]> = await page.evaluate(
        `import("/test/helpers/browser-page.ts").then((page) => page.conformance(${options}))`,
      );
      expect(answer).toEqual({ kernels, threads, result: [] });
      expect(errors).toEqual([]);
    });

    test("a model chooses the same ids as in Node", { timeout: 60_000 }, async () => {
      const options = { threads: 2, smallWork: 0 };
      const answer: Awaited<ReturnType<typeof story>> = await page.evaluate(`(async () => {
        const page = await import("/test/helpers/browser-page.ts");
        const config = await (await fetch("/models/stories/config.json")).text();
        const weights = await (await fetch("/models/stories/model.safetensors")).arrayBuffer();
        return page.story({ config, weights: new Uint8Array(weights) }, ${TOKENS}, ${JSON.stringify(options)});
      })()`);
      const config = readFileSync(join(MODEL, "config.json"), "utf8");
      const weights = readFileSync(join(MODEL, "model.safetensors"));
      const wanted = await story({ config, weights }, TOKENS, options);
      expect(answer).toEqual({ ...wanted, threads });
      expect(new Set(answer.result.ids).size).toBeGreaterThan(10);
      expect(errors).toEqual([]);
    });
  });
});

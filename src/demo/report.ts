// The page of a demonstration: what each step found, for somebody who has read nothing else.

import { duration, htmlPage, htmlRows, madeWith } from "../report/page.ts";
import { escapeXml } from "../report/svg.ts";
import type { DemoStepResult } from "./types.ts";
import type { Work } from "./work.ts";

export interface Section {
  readonly result: DemoStepResult;
  readonly page: string;
}

export function demoHtml({ model, seed, path }: Work, sections: readonly Section[], seconds: number): string {
  const title = "pith demo: small models of one's own";
  return htmlPage(
    title,
    [
      `<h1>${escapeXml(title)}</h1>
<p>A model of this machine's own calls functions, learns new words from a few examples, and teaches a smaller one. All of it was computed
here, in ${duration(seconds)}; every figure was measured in this run. Under each step stand the commands that do the same
with a model and data of one's own.</p>`,
      ...sections.map(
        ({ result, page }, i) => `<h2>${i + 1}. ${escapeXml(result.title)}</h2>
${page}
${result.commands.length === 0 ? "" : `<pre>${escapeXml(result.commands.join("\n"))}</pre>`}
<p class="took">${duration(result.seconds)}</p>`,
      ),
      "<h2>Made with</h2>",
      htmlRows([
        ...madeWith(model.backend as Parameters<typeof madeWith>[0]),
        ["Model", path],
        ["Seed", String(seed)],
        ["Again", `npx pith demo --seed ${seed}`],
      ]),
    ],
    STYLE,
  );
}

const STYLE = `
body { max-width: 60rem; } figure { max-width: 46rem; }
pre { overflow-x: auto; background: var(--grid); padding: .6rem .8rem; font-size: .8rem; }
.took { color: var(--dim); font-size: .8rem; }
.wide td { font-size: .85rem; } .wide th, .wide td { padding-right: 1rem; }
`;

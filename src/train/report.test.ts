import { expect, test } from "vitest";
import { reportHtml } from "./report.ts";

test("the report holds results, charts, settings and versions, and nothing that a page must load or run", () => {
  const records = Array.from({ length: 30 }, (_, i) => ({
    ...{ step: i + 1, epoch: i / 10, loss: 4 - i / 20, lr: 1e-3, grad_norm: 1 + i, tokens: 100, targets: 90 },
    ...(i % 10 === 9 && { eval_loss: 4 - i / 18 }),
    seconds: 0.1,
  }));
  const html = reportHtml({
    title: "A <run>",
    result: {
      ...{ step: 30, stopped: "steps", loss: 2.6, first_eval: 4.2, eval_loss: 2.5, kept: 30 },
      ...{ tokens: 3000, seconds: 3.2, records },
    } as never,
    plan: {
      ...{ parameters: 1_000_000, trained: 5000, steps: 30, tokens: 4000, eval_tokens: 100, available: 1e9 },
      size: { ctx: 16, tokens: 64, sequences: 4 },
      memory: { weights: 4e6, optimizer: 6e4, work: 1e7, total: 1.4e7 },
    },
    machine: { name: "native", kernels: "avx2", threads: 2 },
    settings: { data: { "a.jsonl": "0123abc" }, lr: 1e-3, targets: ["q_proj"] },
    warnings: ['1 of 2 samples repeat & "more"'],
  });
  expect(html.match(/<svg /g)?.length).toBe(4);
  for (const part of [
    "A &lt;run&gt;",
    "5,000 beside 1,000,000 (0.500 %)",
    "2.5000 (perplexity 12.18), at step 30",
    "data.a.jsonl</th><td>0123abc",
    '["q_proj"]'.replaceAll('"', "&quot;"),
    "repeat &amp; &quot;more&quot;",
    process.version,
    "prefers-color-scheme: dark",
  ])
    expect(html).toContain(part);
  expect(html).not.toMatch(/<script|https?:|src=|href=|undefined|NaN/);
});

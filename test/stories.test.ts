// A real trained model against the numbers that were published with it: logits of a float64 forward pass, and the
// tokens of greedy decoding.
import { readFileSync } from "node:fs";
import { describe, expect, test } from "vitest";
import { createRuntime, openModel } from "../src/models/index.ts";
import { backends } from "./helpers/backends.ts";
import { sharedData } from "./helpers/shared-data.ts";
import { argmax, step } from "./helpers/step.ts";

const folder = sharedData("stories260K");
const json = (file: string) => JSON.parse(readFileSync(`${folder}/${file}`, "utf8"));

describe.skipIf(!folder)("stories260K (../shared/data is absent: skipped)", () => {
  test.each(backends)("logits and greedy ids, %s", async (_, make) => {
    const backend = await make();
    const model = await openModel(folder!);
    const runtime = await createRuntime(model, backend, { kv: "f32", maxima: { T: 64, S: 4, R: 64 } });
    const reference = json("reference_logits.json");
    const pages = Array.from({ length: runtime.pagesPerSequence }, (_, i) => i);
    const rows = await step(runtime, [{ ids: reference.ids, past: 0, pages }]);
    const wanted: number[] = reference.last_logits;
    const error = Math.max(...rows.at(-1)!.map((x, i) => Math.abs(x - wanted[i]!)));
    expect(error).toBeLessThan(1e-3);

    const expected: number[] = json("greedy_ids_bos_200.json");
    const ids = [expected[0]!];
    while (ids.length < expected.length) {
      const [row] = await step(runtime, [{ ids: [ids.at(-1)!], past: ids.length - 1, pages }]);
      ids.push(argmax(row!));
    }
    expect(ids).toEqual(expected);
    runtime.close();
    await model.close();
    backend.close();
  });
});

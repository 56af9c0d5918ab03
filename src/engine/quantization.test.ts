/** Gradients that go straight through what is rounded. */
import { expect, test } from "vitest";
import { ReferenceBackend } from "./backends/reference.ts";
import { gradients } from "./gradients.ts";
import { mul, reshape, round_half, scale_groups, sum_last } from "./nn.ts";
import { record } from "./program.ts";

test("codes are rounded, and slopes by them are those of the rounded ones, but not outwards beyond an end", async () => {
  const backend = new ReferenceBackend();
  const program = record((g) => {
    const codes = g.param("codes", [1, 4]);
    const scale = round_half(g.param("scale", [1, 2]));
    const min = g.param("min", [1, 2]);
    const y = scale_groups(codes, scale, min, { group: 2, range: [0, 3] });
    const loss = sum_last(mul(y, g.param("weigh", [1, 4])));
    const [dcodes, dscale, dmin] = gradients(reshape(loss, [1]), [codes, g.param("scale", [1, 2]), min]);
    return { y, dcodes: dcodes!, dscale: dscale!, dmin: dmin! };
  });
  const run = backend.compile(program, { T: 0, S: 0, R: 0 });
  const bound = {
    codes: [0.5, 1.6, 3.7, -0.9],
    scale: [0.1, -2],
    min: [1, 0.25],
    weigh: [1, 2, 3, 4],
  };
  for (const [name, values] of Object.entries(bound))
    run.bind(name, backend.dense("f32", [1, values.length], Float32Array.from(values)));
  await run.run({ T: 0, S: 0, R: 0 }, {});
  const read = (name: string, n: number) => {
    const into = new Float32Array(n);
    run.read(name, into);
    return [...into];
  };
  const tenth = 0.0999755859375; // 0.1 in f16
  const near = (found: number[], wanted: number[]) =>
    found.forEach((x, i) => {
      expect(x).toBeCloseTo(wanted[i]!, 6);
    });
  near(read("y", 4), [-1, 2 * tenth - 1, -6.25, -0.25]);
  near(read("dscale", 2), [2 * 2, 3 * 3]);
  near(read("dmin", 2), [-3, -7]);
  // 3.7 would go on up with a slope below 0: stopped. -0.9 would go up, too: back to the codes.
  near(read("dcodes", 4), [tenth, 2 * tenth, 0, -8]);
  run.free();
});

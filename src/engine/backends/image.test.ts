import { describe, expect, it } from "vitest";
import { CASES } from "../conformance/cases.ts";
import { add, reshape, scale } from "../nn.ts";
import { plan } from "../plan.ts";
import { type Program, record } from "../program.ts";
import { loadAddon } from "./addon.ts";
import { encodeImage } from "./image.ts";
import { NativeBackend } from "./native.ts";

const DIMS = { T: 5, S: 2, R: 3 };
/** The one that every machine of this architecture has. */
const ISA = NativeBackend.available() ? NativeBackend.kernels().at(-1)! : "";

function imageOf(program: Program, table: readonly string[]) {
  return encodeImage(program, plan(program, DIMS), DIMS, table);
}

describe("images of programs", () => {
  const program = record((g) => {
    const x = g.input("x", "f32", ["T", 2, 3]);
    const y = add(reshape(x, ["T", 6]), scale(g.param("p", [6]), 2));
    return { y };
  });

  it("leave out reshapes, and give what was reshaped the same place", () => {
    const { words, inputs, slots } = imageOf(program, ["scale", "add"]);
    expect(words.slice(2, 5)).toEqual(Int32Array.of(4, 2, 1));
    expect([...inputs.values()]).toEqual([0]);
    expect(slots.map((t) => t.name)).toEqual(["p"]);
    // space, slot, offset, type, symbol, rank, dimensions
    const tensors = Array.from({ length: 4 }, (_, i) => [...words.slice(12 + 10 * i, 22 + 10 * i)]);
    expect(tensors).toContainEqual([2, 0, 0, 0, 0, 1, 2, 1, 0, 6]);
    expect(tensors).toContainEqual([1, 0, 0, 0, 0, 0, 1, 1, 1, 6]);
  });

  it("are not made without a kernel for each row, or of more than three dimensions", () => {
    expect(() => imageOf(program, ["add"])).toThrow('there is no kernel "scale", only add');
    const deep = record((g) => ({ y: scale(g.input("x", "f32", ["T", 2, 3, 4]), 2) }));
    expect(() => imageOf(deep, ["scale"])).toThrow("4 dimensions, wanted at most 3");
  });
});

describe.skipIf(!NativeBackend.available())("images in the addon", () => {
  // The body of a skipped suite runs too.
  const addon = NativeBackend.available() ? loadAddon() : (undefined as never);
  const table = addon?.kernels(addon.info().isas.indexOf(ISA)) ?? [];
  const images = (addon ? CASES : []).map((c) => {
    const program = record((g) => {
      const inputs = c.operands.map((o, i) => {
        if (o.kind === "weight") return g.param(`p${i}`, o.shape);
        if (o.kind === "state" || o.kind === "kv" || o.kind === "adapters") return g.state(`s${i}`, o.shape);
        return g.input(`i${i}`, o.kind === "ids" ? "i32" : "f32", o.shape);
      });
      const outputs = g.emit(c.op, inputs, c.attrs as never);
      return Object.fromEntries(outputs.map((t, i) => [`${i}`, t]));
    });
    return imageOf(program, [...table, "reshape"]).words;
  });

  it("are made of every row", () => {
    for (const image of images) addon.free(addon.program(image, ISA));
  });

  it("say what is wrong with them", () => {
    const image = images[0]!;
    const wrong = (i: number, value: number) => () => addon.program(image.with(i, value), ISA);
    expect(wrong(0, 1)).toThrow("magic word 0 is 1, wanted 1752459632");
    expect(wrong(1, 9)).toThrow("version 0 is 9, wanted 1");
    expect(wrong(2, 1 << 30)).toThrow("number of words of the tensors");
    expect(wrong(5, 0)).toThrow(/end of tensor \d+ is \d+, wanted 0/);
    expect(wrong(12, 3)).toThrow("space of tensor 0 is 3, wanted 2");
    expect(wrong(14, 4)).toThrow("offset of tensor 0 is 4, wanted 0");
    expect(() => addon.program(image.subarray(0, -1), ISA)).toThrow("number of words left for node 0");
    expect(() => addon.program(Int32Array.of(...image, 0), ISA)).toThrow(
      "number of words after the last node",
    );
    expect(() => addon.program(image, "mmx")).toThrow('there are no kernels "mmx" here');
  });

  it("never crash it, whatever is in them", () => {
    let state = 12345;
    const random = (n: number) => {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      return Math.floor((state / 2 ** 32) * n);
    };
    const values = [-1, 0, 1, 2, 3, 7, 31, 32, 33, 64, 1 << 20, 2 ** 31 - 1, -(2 ** 31)];
    let refused = 0;
    for (let i = 0; i < 5000; i++) {
      let image = images[random(images.length)]!.slice();
      for (let k = 1 + random(3); k > 0; k--) {
        const at = random(image.length);
        const kind = random(3);
        if (kind === 0) image[at] = values[random(values.length)]!;
        else if (kind === 1) image[at] ^= 1 << random(32);
        else image = random(4) ? image : image.slice(0, at);
        if (image.length === 0) break;
      }
      try {
        const handle = addon.program(image, ISA);
        addon.inputs(handle);
        addon.free(handle);
      } catch (error) {
        expect((error as Error).message).toMatch(/^Cannot /);
        refused++;
      }
    }
    expect(refused).toBeGreaterThan(1000);
  });
});

import { createHash } from "node:crypto";
import { describe, expect, test } from "vitest";
import { randomBlocks } from "./conformance/blocks.ts";
import { f16ToF32, f32ToF16 } from "./half.ts";
import { fromPanels, PANEL_ROWS, panelBytes, toPanels } from "./panels.ts";
import { dequantize, quantize, WEIGHT_TYPES, type WeightType, weightBytes } from "./weights.ts";

function randoms(seed: number): () => number {
  let state = seed >>> 0;
  return () => {
    state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
    return ((state >>> 8) + 0.5) / 2 ** 24;
  };
}

function normals(count: number, seed: number): Float32Array {
  const random = randoms(seed);
  return Float32Array.from(
    { length: count },
    () => Math.sqrt(-2 * Math.log(random())) * Math.cos(2 * Math.PI * random()),
  );
}

function values(type: WeightType, bytes: Uint8Array, count: number): Float32Array {
  const out = new Float32Array(count);
  dequantize(type, bytes, out);
  return out;
}

describe("quantize", () => {
  test("q8_0 of a block worked out by hand", () => {
    // d = 127 / 127 = 1, so each value is its own q, rounded half away from zero.
    const block = new Float32Array(32);
    block.set([127, -127, 0.5, -0.5, 1.5, -1.5, 2.4, -2.6, 0.49, -0.49]);
    const bytes = quantize("q8_0", block);
    expect(bytes.length).toBe(34);
    expect([...bytes.subarray(0, 2)]).toEqual([0x00, 0x3c]);
    expect([...new Int8Array(bytes.buffer, 2, 11)]).toEqual([127, -127, 1, -1, 2, -2, 2, -3, 0, 0, 0]);
  });

  test("q4_0 of a block worked out by hand", () => {
    // The value of largest magnitude is -8, so d = 1 and q = trunc(x + 8.5), at most 15.
    const block = new Float32Array(32);
    block.set([-8, -7.6, -7.4, 0, 0.4, 0.5, 7, 7.9]);
    block.set([1, 2, 3], 16);
    const bytes = quantize("q4_0", block);
    expect(bytes.length).toBe(18);
    expect([...bytes.subarray(0, 2)]).toEqual([0x00, 0x3c]);
    const low = [...bytes.subarray(2, 10)].map((b) => b & 15);
    expect(low).toEqual([0, 0, 1, 8, 8, 9, 15, 15]);
    expect([...bytes.subarray(2, 6)].map((b) => b >> 4)).toEqual([9, 10, 11, 8]);
    // With the largest positive the scale is negative: 8 becomes q = 0.
    expect(
      values(
        "q4_0",
        quantize(
          "q4_0",
          block.map((x) => -x),
        ),
        32,
      )[0],
    ).toBe(8);
  });

  test("a block of zeros is llama.cpp's: the scale of q4_0 is -0", () => {
    expect([...quantize("q8_0", new Float32Array(32))]).toEqual(new Array(34).fill(0));
    expect([...quantize("q4_0", new Float32Array(32))]).toEqual([0x00, 0x80, ...new Array(16).fill(0x88)]);
  });

  test("every step is rounded to f32, as the reference does", () => {
    // A second, literal form of the reference in f32 steps.
    const f = Math.fround;
    const x = normals(32 * 500, 7);
    const bytes = quantize("q8_0", x);
    const nibbles = quantize("q4_0", x);
    for (let b = 0; b < 500; b++) {
      const block = x.subarray(b * 32, b * 32 + 32);
      const amax = Math.max(...block.map(Math.abs));
      const id = f(1 / f(amax / 127));
      const view = new DataView(bytes.buffer, b * 34);
      expect(view.getUint16(0, true)).toBe(f32ToF16(f(amax / 127)));
      block.forEach((v, j) => {
        const p = f(v * id);
        expect(view.getInt8(2 + j)).toBe(Math.sign(p) * Math.trunc(Math.abs(p) + 0.5) + 0); // + 0: no -0
      });
      const max = block.find((v) => Math.abs(v) === amax)!;
      const id4 = f(1 / f(max / -8));
      for (let j = 0; j < 16; j++) {
        const q = (v: number) => Math.min(15, Math.trunc(f(f(v * id4) + 8.5)));
        expect(nibbles[b * 18 + 2 + j]).toBe(q(block[j]!) | (q(block[j + 16]!) << 4));
      }
    }
  });

  // Made by ggml's own quantize_row_*_ref and conversion routines (2026-08) from the same values.
  test.each([
    ["q8_0", "7533d385ba85bc8ffe9ab8873a85ff80b02287639deecb015a6162f2fdea62b5"],
    ["q4_0", "1023c17568f3bf33adddeb06e3c17816c87c4d453ec59e1ff0f1c585e78298dd"],
    ["f16", "53857cdd45300490d35c26fe17292c9c3e4f7e2ccb0243c561f9e534373c0baf"],
    ["bf16", "a679aa90045a46c0bbf5a9bf9a55b553814f89eae39dbc4b29c0b0e27bfcf808"],
  ] as const)("%s of 102,400 values is ggml's, byte for byte", (type, sha256) => {
    let state = 42;
    const x = new Float32Array(256 * 400);
    for (let i = 0; i < x.length; i++) {
      state = (Math.imul(state, 1664525) + 1013904223) >>> 0;
      x[i] = ((state >>> 8) / 2 ** 24 - 0.5) * 2 ** (((i >>> 8) % 30) - 20);
    }
    expect(createHash("sha256").update(quantize(type, x)).digest("hex")).toBe(sha256);
  });

  test.each([
    ["q8_0", 0.5],
    ["q4_0", 1],
  ] as const)("%s is within %d of its scale", (type, steps) => {
    const x = normals(32 * 1000, 3);
    const bytes = quantize(type, x);
    const back = values(type, bytes, x.length);
    const { blockBytes } = WEIGHT_TYPES[type];
    for (let i = 0; i < x.length; i++) {
      const at = Math.floor(i / 32) * blockBytes;
      const d = Math.abs(f16ToF32(bytes[at]! | (bytes[at + 1]! << 8)));
      // The scale itself is rounded to f16 (one part in 2048), which moves the largest value most.
      if (Math.abs(back[i]! - x[i]!) > d * steps + Math.abs(x[i]!) / 2000) expect.fail(`element ${i}`);
    }
  });

  test("what dequantize gives quantizes to the same bytes", () => {
    for (const type of ["f32", "f16", "bf16", "q8_0"] as const) {
      const once = quantize(type, normals(32 * 50, 5));
      expect(quantize(type, values(type, once, 32 * 50))).toEqual(once);
    }
  });

  test("refuses what a type cannot hold", () => {
    const block = new Float32Array(64);
    block[40] = Number.NaN;
    block[41] = 1;
    for (const type of ["q8_0", "q4_0"] as const) {
      expect(() => quantize(type, block)).toThrow(`Cannot quantize to ${type}: value 40 is NaN, want finite`);
      expect(() => quantize(type, new Float32Array(32).fill(-Infinity))).toThrow("value 0 is -Infinity");
      expect(() => quantize(type, new Float32Array(32).fill(1e9, 9))).toThrow("value 9 is 1000000000");
      expect(() => quantize(type, new Float32Array(172))).toThrow(
        `Cannot store 172 elements as ${type}: want a whole number of blocks of 32`,
      );
    }
    expect(() => quantize("q6_k" as "q8_0", new Float32Array(256))).toThrow("Cannot quantize to q6_k");
  });
});

describe("dequantize", () => {
  test("q6_k equals the definition, element by element", () => {
    const random = randoms(11);
    const bytes = Uint8Array.from({ length: 210 * 3 }, () => random() * 256);
    for (let b = 0; b < 3; b++) bytes.set([0x34, 0xa0 + b], b * 210 + 208); // small scales, one of them negative
    const got = values("q6_k", bytes, 768);
    for (let i = 0; i < 768; i++) {
      // Element e of 256: its quarter q of the half h, and its place l in the quarter.
      const b = Math.floor(i / 256) * 210;
      const e = i % 256;
      const h = e >> 7;
      const q = (e >> 5) & 3;
      const l = e & 31;
      const low = (bytes[b + h * 64 + (q % 2) * 32 + l]! >> (4 * (q >> 1))) & 15;
      const high = (bytes[b + 128 + h * 32 + l]! >> (2 * q)) & 3;
      const scale = new Int8Array(bytes.buffer)[b + 192 + (e >> 4)]!;
      const d = f16ToF32(bytes[b + 208]! | (bytes[b + 209]! << 8));
      expect(got[i]).toBe(d * scale * (low + 16 * high - 32));
    }
  });

  // From the numpy dequantizers of the Python package gguf 0.19 over the same blocks, compared bit for bit.
  test.each([
    ["iq4_nl", "9707e19b88fdafaeda2796f3a37d74ef627a2b449c4e5d8a415726f7dcffdcdf"],
    ["iq4_xs", "d52478fdb015e49a21746bfd896f8f3199740800d0e3feb346e90fe527184f14"],
    ["mxfp4", "c128ac3755ac006657888ff59b4c1e37f5a9464b1992b05eee49a9e3a9533ede"],
    ["q2_k", "dbb245bb4f1503b862ce3289b99cadd22874e7c53dcd6cb3537e97aec064c0ce"],
    ["q3_k", "9d01e2b5c8e89e117323b537f53a74f662939ff4666dab8490aa38b01676c3cf"],
    ["q4_0", "2259d474219138edb5fef5d5c77d81ccf6dd40243fad037eea1f811d4b0b3993"],
    ["q4_1", "e87d156f51d7697a8fcf372cd02128f4c5ce06edbf98d7c5d11e78ea879f80ec"],
    ["q4_k", "7d8c230e3984271e121b3522496336129dc358ed56fbcb133ff73e96e7fb83d6"],
    ["q5_0", "9d857099bbfa96581a40aa9ac3b49ade1f9078425e84238265a042bc3ec29ad3"],
    ["q5_1", "fbd90d49d7e5ba337eeacbe9a47787cc1da513e82c0df236d7c5ee3bfcd7ce1d"],
    ["q5_k", "ae3a07a52433a5579f2c7c916daa3390f450b7c90103af7b49f077dd8b4c2d0f"],
    ["q6_k", "ba80fd33912f773279e74991ec3f28719913d255800fc0130a8757b5b67b8997"],
    ["q8_0", "d1698c8b3587584544532ef3d644a28c7890cd315a2d9332c637729a5ace7e35"],
    ["tq1_0", "7798139f6af091568dd066b656bd5e53c06a191d4a42299d9485378d4b6043e1"],
    ["tq2_0", "fdeda4dfc52d66b545d83f104a7147d8e157942b49ac5bcf98c3bfee20802032"],
  ] as const)("%s of 81,920 values is ggml's, bit for bit", (type, sha256) => {
    const got = values(type, randomBlocks(type, 256 * 320, 5), 256 * 320);
    expect(createHash("sha256").update(new Uint8Array(got.buffer)).digest("hex")).toBe(sha256);
  });

  test("a q6_k block of ggml has ggml's values", () => {
    const block = Buffer.from(
      "ghmCfcyCaEwVVuTQuRDfAVpFMPt1oRCC15RlVtMXPimdKkfBHAPlsOldIVpmNqAUR5u37nVg7zpQ/uZQN3YDmXv3oJ8Lnd9QpFHYrfcY" +
        "P/4GTg+9Eoka4JI4JYcdYxABynsWldkWPqi78IcDsHwvMVhNdxqPNz9uN9vgoXPhY76iKqaUGw3BA7yCR+nnfNXJOjbSj0DwjIFgTMfX" +
        "iXkCQjzwGNFJYqGycGGfS+QNcXrRVOI4rs9HnmGNwzz/Z2xyjYNvjnh7Z5l4l4x8gneAfhUc",
      "base64",
    );
    const got = values("q6_k", block, 256);
    expect([...got.subarray(0, 2)]).toEqual([-0.9168624877929688, -4.125881195068359]);
    expect(createHash("sha256").update(new Uint8Array(got.buffer)).digest("hex")).toBe(
      "0c409334758f547ed43c54deda78491c1d4cb8178f9dd129c2e4e6a2f4e2cd06",
    );
  });

  test("float64 output holds the same values, and odd addresses work", () => {
    for (const type of ["f32", "f16", "bf16", "q8_0", "q4_0"] as const) {
      const bytes = quantize(type, normals(256, 9));
      const shifted = new Uint8Array(bytes.length + 1);
      shifted.set(bytes, 1);
      const out = new Float64Array(256);
      dequantize(type, shifted.subarray(1), out);
      expect(Float32Array.from(out)).toEqual(values(type, bytes, 256));
    }
  });

  test("wants the exact number of bytes", () => {
    expect(() => dequantize("q8_0", new Uint8Array(33), new Float32Array(32))).toThrow(
      "Cannot dequantize q8_0 to 32 elements: found 33 bytes, want 34",
    );
    expect(() => weightBytes("q6_k", 896)).toThrow("a whole number of blocks of 256");
  });
});

describe("panels", () => {
  const types = Object.keys(WEIGHT_TYPES) as WeightType[];

  test.each(["f32", "f16", "bf16", "q8_0", "q4_0"] as const)(
    "%s: every element is where the layout says",
    (type) => {
      const [rows, cols] = [19, 96];
      const bytes = quantize(type, normals(rows * cols, 13));
      const panels = toPanels(type, bytes, rows, cols);
      expect(panels.length).toBe(panelBytes(type, rows, cols));
      const want = values(type, bytes, rows * cols);
      for (let row = 0; row < 32; row++) {
        for (let k = 0; k < cols; k++) {
          const got = panelElement(type, panels, cols, row, k);
          if (got !== (row < rows ? want[row * cols + k]! : 0))
            expect.fail(`row ${row}, column ${k}: ${got}`);
        }
      }
    },
  );

  test.each(types)("%s: back and forth gives the same bytes", (type) => {
    const random = randoms(17);
    for (const [rows, blocks] of [
      [1, 1],
      [16, 2],
      [33, 5],
      [0, 1],
    ] as const) {
      const cols = blocks * Math.max(32, WEIGHT_TYPES[type].blockSize);
      const bytes = Uint8Array.from({ length: rows * weightBytes(type, cols) }, () => random() * 256);
      expect(fromPanels(type, toPanels(type, bytes, rows, cols), rows, cols)).toEqual(bytes);
    }
    expect(() => toPanels(type, new Uint8Array(5), 1, 256)).toThrow(`toPanels of ${type}: found 5 bytes`);
  });

  /** Element (row, k) read out of the panels by the layout's definition. */
  function panelElement(type: WeightType, panels: Uint8Array, cols: number, row: number, k: number): number {
    const { blockSize, blockBytes } = WEIGHT_TYPES[type];
    const r = row % PANEL_ROWS;
    const panel = (row - r) * weightBytes(type, cols);
    if (blockSize === 1) {
      const at = panel + (k * 16 + r) * blockBytes;
      return values(type, panels.slice(at, at + blockBytes), 1)[0]!;
    }
    const block = panel + Math.floor(k / 32) * 16 * blockBytes;
    const d = f16ToF32(panels[block + r * 2]! | (panels[block + r * 2 + 1]! << 8));
    const c = k % 32;
    const byteOf = (j: number) => panels[block + 32 + (j >> 2) * 64 + r * 4 + (j & 3)]!;
    if (type === "q8_0") return d * ((byteOf(c) << 24) >> 24);
    if (row >= 19) return d; // padding: scale 0, whatever the nibbles
    return d * ((c < 16 ? byteOf(c) & 15 : byteOf(c - 16) >> 4) - 8);
  }
});

import { describe, expect, it } from "vitest";
import type { Tokenizer } from "../tokenizer/types.ts";
import { TextStream } from "./stream.ts";

/** Ids 0 to 255 are bytes, 256 is a control token. */
const bytes: Tokenizer = {
  name: "bytes",
  vocabSize: 257,
  encode: (text: string) => [...new TextEncoder().encode(text)],
  tokenBytes: (id: number) => (id < 256 ? Uint8Array.of(id) : new TextEncoder().encode("<end>")),
  isSpecial: (id: number) => id === 256,
  stripsLeadingSpace: false,
} as unknown as Tokenizer;

const result = { id: 0, logprob: -1 };

describe("TextStream", () => {
  it("never ends a part inside a character", () => {
    const text = "é€𝄞 ok";
    const stream = new TextStream(bytes, false);
    const parts: string[] = [];
    for (const id of bytes.encode(text)) {
      stream.token(id, result, false);
      const part = stream.take();
      if (part) parts.push(part.text);
    }
    expect(parts).toEqual(["é", "€", "𝄞", " ", "o", "k"]);
    stream.end("stop");
    expect(stream.text).toBe(text);
  });

  it("gives a reader who was away everything at once", () => {
    const stream = new TextStream(bytes, true);
    for (const id of bytes.encode("hello")) stream.token(id, { id, logprob: -id }, false);
    const part = stream.take()!;
    expect(part.text).toBe("hello");
    expect(part.ids).toEqual(bytes.encode("hello"));
    expect(part.logprobs!.map((p) => p.logprob)).toEqual(bytes.encode("hello").map((id) => -id));
    expect(stream.take()).toBeUndefined();
  });

  it("gives ids without text at the end: half a character, control and end tokens", () => {
    const stream = new TextStream(bytes, false);
    stream.token(65, result, false);
    stream.token(256, result, false);
    stream.token(0xe2, result, false);
    expect(stream.take()!.text).toBe("A");
    expect(stream.token(256, result, true)).toBe(true);
    stream.end("stop");
    expect(stream.take()).toEqual({ text: "\ufffd", ids: [256] });
    expect(stream.ids).toEqual([65, 256, 0xe2, 256]);
  });

  it("ends at a stop string, and shows what was held back when there is none", () => {
    const stream = new TextStream(bytes, false);
    stream.stopAt(["\nUser"]);
    const stops = bytes.encode("a\nUs b\nUser").map((id) => stream.token(id, result, false));
    expect(stops.indexOf(true)).toBe(stops.length - 1);
    stream.end("stop");
    expect(stream.text).toBe("a\nUs b");

    const other = new TextStream(bytes, false);
    other.stopAt(["\nUser"]);
    for (const id of bytes.encode("a\nUs")) other.token(id, result, false);
    expect(other.take()!.text).toBe("a");
    other.end("length");
    expect(other.take()!.text).toBe("\nUs");
  });

  it("has no text for ids beyond the vocabulary, and none at all without a tokenizer", () => {
    const stream = new TextStream(bytes, false);
    stream.token(300, result, false);
    stream.end("length");
    expect(stream.take()).toEqual({ text: "", ids: [300] });
    const ids = new TextStream(undefined, false);
    ids.token(5, result, false);
    expect(ids.take()).toEqual({ text: "", ids: [5] });
    expect(() => ids.stopAt(["x"])).toThrow(/no tokenizer/);
  });
});

// The command line in the test's own process: what it printed, and its exit code.

import { vi } from "vitest";
import { main } from "../../src/cli/program.ts";

export async function pith(...args: string[]): Promise<{ code: number; out: string; err: string }> {
  const result = { code: 0, out: "", err: "" };
  const into = (name: "out" | "err") => (text: string | Uint8Array) => {
    result[name] += text;
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(into("out"));
  vi.spyOn(process.stderr, "write").mockImplementation(into("err"));
  result.code = await main(["node", "pith", ...args]);
  vi.restoreAllMocks();
  return result;
}

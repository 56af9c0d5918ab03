import type { CompareResult } from "./types.ts";
export function compareHtml(result: CompareResult): string {
  return JSON.stringify(result);
}

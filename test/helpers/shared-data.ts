// Test data beside the repository, which a clone may lack: tests that need it skip and say so.
import { existsSync } from "node:fs";
import { fileURLToPath } from "node:url";

const root = fileURLToPath(new URL("../../../shared/data/", import.meta.url));

/** Path of a file or folder of the test data, or undefined when it is absent. */
export function sharedData(name: string): string | undefined {
  const path = root + name;
  return existsSync(path) ? path : undefined;
}

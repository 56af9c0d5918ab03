// The backends that a test of models runs on: all that this machine has.
import type { Backend } from "../../src/engine/backend.ts";
import { ReferenceBackend } from "../../src/engine/backends/reference.ts";

export const backends: [name: string, make: () => Backend][] = [["reference", () => new ReferenceBackend()]];

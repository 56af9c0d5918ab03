// The command line of dist/ as a bench calls it: what it prints, or an error that holds its output.
import { execFileSync } from "node:child_process";
import { fileURLToPath } from "node:url";

const program = fileURLToPath(new URL("../dist/cli/main.js", import.meta.url));

/** @param {readonly string[]} given */
export const pith = (given) =>
  execFileSync(process.execPath, [program, ...given], {
    encoding: "utf8",
    maxBuffer: 2 ** 28,
    stdio: ["ignore", "pipe", "pipe"],
  });

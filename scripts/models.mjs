// npm run models: makes every recipe under models/, one after the other. Arguments go to pith make: npm run models -- --dry-run

import { spawnSync } from "node:child_process";
import { existsSync, readdirSync } from "node:fs";
import { join, resolve } from "node:path";

const root = resolve(import.meta.dirname, "..");
const main = join(root, "dist/cli/main.js");
for (const name of readdirSync(join(root, "models")).sort()) {
  const recipe = join("models", name, "recipe.mjs");
  if (!existsSync(join(root, recipe))) continue;
  const { status } = spawnSync(process.execPath, [main, "make", recipe, ...process.argv.slice(2)], {
    cwd: root,
    stdio: "inherit",
  });
  if (status !== 0) process.exit(status ?? 1);
}

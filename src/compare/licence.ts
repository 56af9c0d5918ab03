// The licence that a model's own files state: said again, never judged.

import { open } from "node:fs/promises";
import { join } from "node:path";
import { oneLine } from "../formats/visible.ts";
import type { OpenedModel } from "../models/index.ts";

/** Metadata stand at the beginning of a README, a licence's name at that of its text. */
const HEAD_BYTES = 65_536;
const MAX_NAME = 80;

/**
 * GGUF: `general.license` and its name. Folder: `license` in the head of README.md or in config.json, else the first line of
 * a LICENSE file. Undefined: they state none.
 */
export async function statedLicence(
  model: Pick<OpenedModel, "kind" | "name" | "gguf">,
): Promise<string | undefined> {
  if (model.gguf) {
    const text = (key: string) => {
      const value = model.gguf!.metadata.get(key);
      return typeof value === "string" ? value : undefined;
    };
    return named(text("general.license"), text("general.license.name"));
  }
  if (model.kind !== "folder") return undefined;
  const readme = await head(join(model.name, "README.md"));
  const front = /^\uFEFF?---\r?\n([\s\S]*?)\r?\n---/.exec(readme)?.[1] ?? "";
  const config = /"license"\s*:\s*"([^"]*)"/.exec(await head(join(model.name, "config.json")))?.[1];
  const stated = named(yamlValue(front, "license"), yamlValue(front, "license_name")) ?? named(config);
  if (stated !== undefined) return stated;
  for (const file of ["LICENSE", "LICENSE.txt", "LICENSE.md"]) {
    const line = (await head(join(model.name, file))).split("\n").find((row) => row.trim() !== "");
    if (line !== undefined) return named(line.replace(/^#+/, ""));
  }
  return undefined;
}

/** "other" says nothing where there is a name. */
function named(licence: string | undefined, name?: string): string | undefined {
  const both = [licence, name].map((text) => oneLine(text ?? "").trim()).filter((text) => text !== "");
  if (both.length === 0) return undefined;
  const text =
    both.length === 2 && both[0] !== "other" && both[0] !== both[1] ? both.join(", ") : both.at(-1)!;
  return text.length > MAX_NAME ? `${text.slice(0, MAX_NAME)}...` : text;
}

/** A plain value, or the list of them, of a key at the beginning of a line. */
function yamlValue(yaml: string, key: string): string | undefined {
  const [, inline, rows] =
    new RegExp(`^${key}:[ \\t]*([^\\r\\n]*)((?:\\r?\\n[ \\t]*-[^\\r\\n]*)*)`, "m").exec(yaml) ?? [];
  const bare = (text: string) => text.trim().replace(/^(["'])(.*)\1$/, "$2");
  if (inline !== undefined && inline.trim() !== "") {
    const list = /^\[(.*)\]$/.exec(inline.trim())?.[1];
    return list === undefined ? bare(inline) : list.split(",").map(bare).join(", ");
  }
  const items = (rows ?? "").split("\n").map((row) => bare(row.replace(/^[ \t]*-/, "")));
  return items.filter((item) => item !== "").join(", ") || undefined;
}

async function head(path: string): Promise<string> {
  const file = await open(path, "r").catch(() => undefined);
  if (!file) return "";
  try {
    const { buffer, bytesRead } = await file.read(Buffer.alloc(HEAD_BYTES), 0, HEAD_BYTES, 0);
    return buffer.toString("utf8", 0, bytesRead);
  } catch {
    return ""; // a folder of that name, for one
  } finally {
    await file.close();
  }
}

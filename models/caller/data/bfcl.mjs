// The Berkeley function-calling cases as a task. For evaluation alone: nothing of them is trained on.

import { readFileSync } from "node:fs";
import { join } from "node:path";

/** Cases of a category: { tools, messages, ground_truth }, the answers as the files have them. */
export function readBfcl(folder, category) {
  const file = `BFCL_v4_${category === "simple" ? "simple_python" : category}.json`;
  const rows = (path) =>
    readFileSync(path, "utf8")
      .split("\n")
      .filter((line) => line.trim() !== "")
      .map((line) => JSON.parse(line));
  const answers = new Map(
    rows(join(folder, "possible_answer", file)).map((row) => [row.id, row.ground_truth]),
  );
  return rows(join(folder, file)).map(({ id, question, function: tools }) => {
    if (!answers.has(id)) throw new Error(`Cannot read ${file}: ${id} has no answer`);
    return { tools: tools.map(standard), messages: question[0], ground_truth: answers.get(id) };
  });
}

const TYPES = { dict: "object", float: "number", tuple: "array", any: undefined };

/** JSON schema of what the files write in Python's words. */
function standard(schema) {
  if (Array.isArray(schema)) return schema.map(standard);
  if (typeof schema !== "object" || schema === null) return schema;
  return Object.fromEntries(
    Object.entries(schema).flatMap(([key, value]) => {
      if (key === "type" && typeof value === "string" && value in TYPES)
        return TYPES[value] ? [[key, TYPES[value]]] : [];
      if (key === "optional" && (typeof value !== "object" || Array.isArray(value))) return []; // "required" says the same
      return [[key, standard(value)]];
    }),
  );
}

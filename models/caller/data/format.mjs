// The one form of answers and samples. An answer is minimal JSON: a list of calls ([] refuses), or a question for
// arguments that are missing. Arguments stand in the schema's order, whatever order the sentence has.

/** Text of an answer. `calls`: [{ name, arguments }]; or { name, missing } of a question. */
export function answerText(answer) {
  if (Array.isArray(answer))
    return JSON.stringify(answer.map((call) => ({ name: call.name, arguments: call.arguments })));
  const { name, missing } = answer;
  return JSON.stringify({ name, missing, question: questionOf(missing) });
}

/** The question for arguments: their names as words. */
export function questionOf(missing) {
  const names = missing.map(wordsOf);
  const list = names.length < 2 ? names[0] : `${names.slice(0, -1).join(", ")} and ${names.at(-1)}`;
  return `Which ${list}?`;
}

/** Words of a name: "departureDate", "departure_date" -> "departure date". */
export function wordsOf(name) {
  return name
    .replace(/([\p{Ll}\d])(\p{Lu})/gu, "$1 $2")
    .replace(/[_.\-/]+/g, " ")
    .trim()
    .toLowerCase();
}

/** Arguments in the order of the schema's properties. */
export function inOrder(tool, args) {
  const out = {};
  for (const name of Object.keys(tool.parameters.properties)) if (name in args) out[name] = args[name];
  return out;
}

/**
 * Writes samples whose tools are rendered beforehand, as a system message: the template makes the same text of either,
 * but for a list of tools it takes milliseconds a turn.
 */
export class Renderer {
  #template;
  #lines = new Map();

  /** @param template of models/caller/chat_template.jinja */
  constructor(template) {
    this.#template = template;
  }

  line(tool) {
    let line = this.#lines.get(tool);
    if (line === undefined) {
      const text = this.#template.render({ messages: [], tools: [tool] });
      line = text.slice("<|tools|>".length);
      this.#lines.set(tool, line);
    }
    return line;
  }

  /** @param toolset its name (`@snips`), or tools @param turns [{ text, answer }] */
  sample(toolset, turns) {
    const system = typeof toolset === "string" ? toolset : toolset.map((tool) => this.line(tool)).join("\n");
    const messages = [{ role: "system", content: system }];
    for (const { text, answer } of turns)
      messages.push({ role: "user", content: text }, { role: "assistant", content: answerText(answer) });
    return { messages };
  }
}

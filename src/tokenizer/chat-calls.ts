// Arguments of tool calls in the form that a chat template takes. Data has them as objects or, as OpenAI's API gives
// them, as text of JSON; a template that gets the other form writes something that no model was trained on.

import type { ChatTemplate } from "./chat-template.ts";
import type { ChatInput } from "./types.ts";

type Form = "object" | "text";

const forms = new WeakMap<ChatTemplate, Form | "either">();

/**
 * The conversation with its calls' arguments as `template` takes them. Text that is no JSON object stays as it is, and
 * so does everything for a template that knows no calls.
 */
export function fitToolCalls(template: ChatTemplate, input: ChatInput): ChatInput {
  const { messages } = input;
  if (!messages.some(({ tool_calls }) => Array.isArray(tool_calls) && tool_calls.length > 0)) return input;
  let form = forms.get(template);
  if (!form) forms.set(template, (form = formOf(template, input)));
  if (form === "either") return input;
  const wanted = form;
  return {
    ...input,
    messages: messages.map((message) => {
      if (!Array.isArray(message.tool_calls)) return message;
      return { ...message, tool_calls: message.tool_calls.map((call) => fitCall(call, wanted)) };
    }),
  };
}

function fitCall(call: unknown, form: Form): unknown {
  if (!isObject(call)) return call;
  if (isObject(call.function)) return { ...call, function: fitCall(call.function, form) };
  if (!Object.hasOwn(call, "arguments")) return call;
  const given = call.arguments;
  if (form === "text") return isObject(given) ? { ...call, arguments: JSON.stringify(given) } : call;
  if (typeof given !== "string") return call;
  try {
    const parsed: unknown = JSON.parse(given);
    return isObject(parsed) ? { ...call, arguments: parsed } : call;
  } catch {
    return call;
  }
}

/** What a template makes of a call shows which form it takes. */
function formOf(template: ChatTemplate, input: ChatInput): Form | "either" {
  const rendered = (args: unknown): string | undefined => {
    const call = { id: "abcdefghi", type: "function", function: { name: "probe", arguments: args } };
    try {
      return template.render({
        bos_token: "",
        eos_token: "",
        ...input,
        messages: [
          { role: "user", content: "x" },
          { role: "assistant", content: "", tool_calls: [call] },
        ],
      });
    } catch {
      return undefined;
    }
  };
  const object = rendered({ argument: "value" });
  // Python's way to print a dict is nobody's way to write a call.
  if (object?.includes("argument") && !object.includes("'argument'")) return "object";
  return rendered('{"argument": "value"}')?.includes('"argument": "value"') ? "text" : "either";
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

// pith call: a sentence and tools in, JSON out: calls, a question for what is missing, or no call.

import { callTools } from "../tools/index.ts";
import { attachAdapters } from "./adapters.ts";
import { interruptible } from "./interrupt.ts";
import { load } from "./load.ts";
import type { ModelOptions } from "./options.ts";
import { figure, note, printJson } from "./output.ts";

export interface CallCommandOptions extends ModelOptions {
  tools?: unknown;
  toolset?: string;
  maxTokens?: number;
  adapter?: string[];
  verbatim?: true | string[];
}

export async function call(
  nameOrPath: string,
  sentence: readonly string[],
  { tools, toolset, maxTokens, adapter, verbatim, ...options }: CallCommandOptions,
): Promise<void> {
  await using model = await load(nameOrPath, options);
  const attached = await attachAdapters(model, adapter);
  await interruptible("Interrupted", async (signal) => {
    const { generation, ...answer } = await callTools(model, {
      prompt: sentence.join(" "),
      ...(tools !== undefined && { tools: tools as unknown[] }),
      ...(toolset !== undefined && { toolset }),
      ...(maxTokens !== undefined && { maxTokens }),
      ...(attached && { adapter: attached }),
      ...(verbatim && { verbatim }),
      signal,
    });
    printJson(answer);
    const { usage, stats } = generation;
    note(
      `${figure(usage.completionTokens)} tokens in ${stats.totalMs.toFixed(1)} ms, the first after ${stats.firstTokenMs.toFixed(1)} ms`,
    );
  });
}

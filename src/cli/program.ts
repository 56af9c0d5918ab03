// The command line: verbs, options, exit codes. Every verb is a library call; its own file turns the answer into lines.

import { Command, CommanderError } from "commander";
import { addGenerateOptions, addModelOptions, choice, count } from "./options.ts";
import { version, visible } from "./output.ts";

const MODEL = "a folder, a .gguf file, or a hub name (owner/name) that is in the hub cache";

/** The whole command line, for tests and for the process below. */
export function program(): Command {
  const pith = new Command("pith")
    .description("Make and run small language models on your own device.")
    .version(version(), "-v, --version")
    .showHelpAfterError("(see pith --help)")
    .exitOverride();

  // Each verb is imported when it is called: none waits for another's modules.
  const run = pith
    .command("run")
    .description("Answer a prompt, or chat in the terminal when there is none.")
    .argument("<model>", MODEL)
    .argument("[prompt...]", "the prompt; without one, what is piped in, or a chat");
  addGenerateOptions(addModelOptions(run))
    .option("--json", "print one JSON object with the text, counts and times")
    .action(async (model, words, options) => (await import("./run.ts")).run(model, words, options));

  pith
    .command("inspect")
    .description("Show what a model is and the memory it needs, without loading it.")
    .argument("<model>", MODEL)
    .option("--ctx <tokens>", "context to tell the memory for", count(1))
    .option("--json", "print JSON")
    .action(async (model, options) => (await import("./inspect.ts")).inspect(model, options));

  pith
    .command("convert")
    .description("Write a model as a GGUF file or as a Hugging Face folder.")
    .argument("<model>", MODEL)
    .argument("<out>", "a name that ends in .gguf, or a folder")
    .addOption(choice("--type <type>", "type of the weights", ["f32", "f16", "bf16", "q8_0", "q4_0"]))
    .option("--overwrite", "replace what is there")
    .option("--json", "print JSON")
    .action(async (model, out, options) => (await import("./convert.ts")).convert(model, out, options));

  const bench = pith
    .command("bench")
    .description("Measure how fast a model runs here.")
    .argument("<model>", MODEL);
  addModelOptions(bench)
    .option("--rounds <n>", "rounds; the median counts", count(1))
    .option("--json", "print JSON")
    .action(async (model, options) => (await import("./bench.ts")).bench(model, options));

  pith
    .command("doctor")
    .description("Show what pith finds on this machine: processor, kernels, memory and its bandwidth.")
    .option("--json", "print JSON")
    .action(async (options) => (await import("./doctor.ts")).doctor(options));
  return pith;
}

/** Runs the command line and gives the exit code: 0 done, 1 it failed, 2 it was called wrongly, 130 interrupted. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`pith: ${visible(error instanceof Error ? error.message : String(error))}\n`);
    return 1;
  }
}

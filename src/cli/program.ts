// The command line: verbs, options, exit codes. Every verb is a library call; its own file turns the answer into lines.

import { existsSync } from "node:fs";
import { Command, CommanderError } from "commander";
import { QUANT_TYPES } from "../engine/grids.ts";
import { QUANTIZE_METHODS } from "../quantize/types.ts";
import {
  ADAPTER,
  addGenerateOptions,
  addModelOptions,
  addSampleOptions,
  addShapeOptions,
  addTrainingOptions,
  choice,
  collect,
  count,
  list,
  names,
  number,
  schemaFile,
  share,
} from "./options.ts";
import { version, visible } from "./output.ts";

const MODEL = "a folder, a .gguf file, or a hub name: owner/name, owner/name:Q4_K_M, owner/name@revision";

const LOSSES = ["forward_kl", "reverse_kl", "jsd", "skew_kl", "skew_reverse_kl"];

/** The whole command line, for tests and for the process below. */
export function program(): Command {
  const pith = new Command("pith")
    .description("Make and run small language models on your own device.")
    .version(version(), "-v, --version")
    .option("--offline", "make every outgoing connection of the process an error")
    .option("--pull", "download a model that is not here without asking")
    .showHelpAfterError("(see pith --help)")
    .exitOverride()
    .hook("preAction", prepare);

  // Each verb is imported when it is called: none waits for another's modules.
  const run = pith
    .command("run")
    .description("Answer a prompt, or chat in the terminal when there is none.")
    .argument("<model>", MODEL)
    .argument("[prompt...]", "the prompt; without one, what is piped in, or a chat");
  addGenerateOptions(addModelOptions(run))
    .option("--json", "print one JSON object with the text, counts and times")
    .action(async (model, words, options) => (await import("./run.ts")).run(model, words, options));

  const call = pith
    .command("call")
    .description("Answer a sentence with calls of functions, as JSON.")
    .argument("<model>", MODEL)
    .argument("<sentence...>", "what is wanted");
  addModelOptions(call)
    .option("--tools <file>", "JSON: functions, as OpenAI's tools", schemaFile)
    .option("--toolset <name>", "name of functions that the model or an adapter knows by heart, as @snips")
    .option("--max-tokens <n>", "of the answer (default: 512)", count(1))
    .option("--verbatim <names>", "arguments (a,b, or all) whose texts must stand in the sentence", names)
    .option("--adapter <path[=scale]>", ADAPTER, collect)
    .action(async (model, words, options) => (await import("./call.ts")).call(model, words, options));

  pith
    .command("demo")
    .description("Show in three minutes what pith does, with a model of its own and nothing from elsewhere.")
    .argument("[sentence...]", "a sentence for the tools (on a terminal you are asked for one)")
    .option("--fast", "less of everything, in half a minute")
    .option("--seed <n>", "the same tools, words and sentences again", count(0))
    .option("--tools <file>", "JSON: functions of your own, as OpenAI's tools; with --examples")
    .option("--examples <file>", "JSONL of your own: prompt, and the calls as completion")
    .option("--model <model>", "a model that calls functions (default: the package's own)")
    .option("--out <folder>", "where everything goes (default: pith-demo)")
    .option("--overwrite", "replace a folder there, whatever it holds")
    .option(
      "--threads <n>",
      "threads to compute with (default: PITH_THREADS, else the usable cores)",
      count(1),
    )
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .option("--json", "print JSON at the end, and nothing before")
    .action(async (words, options) => (await import("./demo.ts")).demo(words, options));

  pith
    .command("inspect")
    .description("Show what a model is and the memory it needs, or what an adapter is, without loading it.")
    .argument("<model>", MODEL)
    .option("--ctx <tokens>", "context to tell the memory for", count(1))
    .option("--json", "print JSON")
    .action(async (model, options) => (await import("./inspect.ts")).inspect(model, options));

  pith
    .command("convert")
    .description("Write a model as a GGUF file or as a Hugging Face folder.")
    .argument("<model>", MODEL)
    .argument("<out>", "a name that ends in .gguf, or a folder")
    .addOption(choice("--type <type>", "type of the weights", ["f32", "f16", "bf16"]))
    .option("--overwrite", "replace what is there")
    .option("--json", "print JSON")
    .action(async (model, out, options) => (await import("./convert.ts")).convert(model, out, options));

  pith
    .command("fuse")
    .description("Merge adapters into a model's weights, and write it as a GGUF file or a folder.")
    .argument("<model>", MODEL)
    .argument("<out>", "a name that ends in .gguf, or a folder")
    .option("--adapter <path[=scale]>", ADAPTER, collect)
    .addOption(choice("--type <type>", "type of the weights", ["f32", "f16", "bf16"]))
    .option("--requantize", "merge into quantized weights, which rounds them once more")
    .option("--overwrite", "replace what is there")
    .option("--json", "print JSON")
    .action(async (model, out, options) => (await import("./fuse.ts")).fuse(model, out, options));

  pith
    .command("average")
    .description(
      "Write the mean of the weights of models that came out of one training: often better than each.",
    )
    .argument("<models...>", "models of one shape, as many as wanted; path=2 counts twice")
    .requiredOption("--out <file or folder>", "a name that ends in .gguf, or a folder")
    .addOption(choice("--type <type>", "type of the weights", ["f32", "f16", "bf16"]))
    .option("--overwrite", "replace what is there")
    .option("--json", "print JSON")
    .action(async (models, options) => (await import("./average.ts")).average(models, options));

  const tune = pith
    .command("tune")
    .description("Train a model on your own data: an adapter beside its weights, or all of them.")
    .argument("<model>", MODEL);
  tune
    .addOption(
      choice("--method <name>", "what is trained, and how (default: lora)", [
        "lora",
        "qlora",
        "dora",
        "full",
        "ternary",
        "dpo",
      ]),
    )
    .option(
      "--teacher <model>",
      "of ternary, which is distilled: a model of the same tokenizer (default: the model as it was)",
    )
    .option("--rank <n>", "of the adapter (default: 8)", count(1))
    .option("--alpha <x>", "its changes count alpha / rank (default: twice the rank)", number)
    .option("--rslora", "they count alpha / root of the rank")
    .option("--targets <names>", "linears that get one: q_proj,v_proj (default: all-linear)")
    .option("--dropout <p>", "of their input while learning (default: 0)", number)
    .option("--beta <x>", "of dpo (default: 0.1)", number);
  addSampleOptions(tune);
  addTrainingOptions(tune).action(async (model, options) => (await import("./tune.ts")).tune(model, options));

  const train = pith.command("train").description("Make a model from nothing: a config and text or samples.");
  train
    .option("--config <file>", "a config.json; its vocab_size may be left out")
    .option("--ctx <tokens>", "longest sequence", count(2))
    .option(
      "--tokenizer <what>",
      "a tokenizer.json, characters, or the size of a vocabulary to make (default: characters, or 4096 for much text)",
    )
    .addOption(
      choice("--method <name>", "full weights, or ternary ones and int8 activations (default: full)", [
        "full",
        "ternary",
      ]),
    )
    .addOption(choice("--long <what>", "to do with longer samples (default: cut)", ["error", "drop", "cut"]))
    .addOption(choice("--type <type>", "type of the written weights (default: f32)", ["f32", "bf16", "f16"]));
  addShapeOptions(train, "without a config: ");
  addTrainingOptions(train).action(async (options) => (await import("./train.ts")).train(options));

  const synthesize = pith
    .command("synthesize")
    .description("Let a teacher write samples in the manner of yours, and keep those that pass.")
    .requiredOption(
      "--teacher <what>",
      `${MODEL}; or URLs of OpenAI-compatible endpoints that serve one model: http://a:8000/v1,http://b:8000/v1`,
    )
    .requiredOption("--seeds <file>", "samples as tune reads them; may be given more than once", collect)
    .requiredOption("--count <n>", "samples wanted", count(1))
    .requiredOption("--out <file>", "JSONL of samples; a run that stopped goes on with it");
  addModelOptions(synthesize)
    .addOption(
      choice("--prompts <which>", "new ones in the manner of the seeds, or the seeds' own (default: new)", [
        "new",
        "seeds",
      ]),
    )
    .option("--shots <n>", "seeds shown for a new prompt (default: 3)", count(1))
    .option(
      "--answer-shots <n>",
      "seeds shown with their answers before an answer (default: 0 for chat models, else as --shots)",
      count(0),
    )
    .option("--raw", "no chat, even where the teacher can: texts are continued")
    .option("--system <text>", "said to a chat teacher before every prompt; no part of the samples")
    .option("--schema <file>", "answers are JSON documents that satisfy this JSON Schema", schemaFile)
    .option(
      "--no-response-format",
      "do not ask endpoints for the schema, which not all know; answers are checked",
    )
    .option("--think", "let the teacher think before it writes (default: as its chat template has it)")
    .option("--no-think", "let it write at once")
    .option("--max-tokens <n>", "most tokens of an answer (default: 512)", count(1))
    .option("--prompt-tokens <n>", "most tokens of a prompt (default: 128)", count(1))
    .option("--temperature <x>", "of prompts and answers (default: 0.8)", number)
    .option("--top-p <x>", "only the likeliest that reach this probability", number)
    .option("--stop <text>", "end an answer before this text; may be given more than once", collect)
    .option("--agree <n>", "write so many answers, and keep the majority's (default: 1)", count(1))
    .option("--agree-share <x>", "more than this share must agree (default: 0.5)", number)
    .option("--min-prompt <n>", "shortest prompt, in characters", count(0))
    .option("--max-prompt <n>", "longest prompt, in characters", count(1))
    .option("--min-length <n>", "shortest answer or text, in characters", count(0))
    .option("--max-length <n>", "longest answer or text, in characters", count(1))
    .option("--near <x>", "prompts that are this much alike count as one (default: 0.7)", number)
    .option("--max-attempts <n>", "end after so many (default: 20 for each sample)", count(1))
    .option("--seed <n>", "of everything random (default: 0)", count(0))
    .option("--adapter <path[=scale]>", ADAPTER, collect)
    .option("--model <name>", "of endpoints: the model's name (default: the one that they serve)")
    .option("--allow-host <name>", "a host that may be sent to; may be given more than once", collect)
    .option("--concurrency <n>", "requests at once, of each URL (default: 8)", count(1))
    .option("--timeout <seconds>", "longest wait for an answer (default: 240)", number)
    .option("--price-in <x>", "of a million tokens of prompts, to tell the cost", number)
    .option("--price-out <x>", "of a million tokens written", number)
    .option("--json", "print JSON at the end")
    .action(async (_, command: Command) =>
      (await import("./synthesize.ts")).synthesize(command.optsWithGlobals()),
    );

  const distill = pith
    .command("distill")
    .description("Train a small model on samples and on what a large one says of them.")
    .option("--teacher <what>", `${MODEL}; or URLs of OpenAI-compatible endpoints that serve one model`)
    .option("--student <model>", "a model, or the config.json of a new one");
  addShapeOptions(distill, "of a new student: ");
  distill
    .addOption(
      choice("--method <name>", "what is trained (default: full)", [
        "full",
        "lora",
        "qlora",
        "dora",
        "ternary",
      ]),
    )
    .option("--rank <n>", "of an adapter (default: 8)", count(1))
    .option("--targets <names>", "linears that get one: q_proj,v_proj (default: all-linear)")
    .addOption(choice("--loss <name>", "distance to the teacher (default: forward_kl)", LOSSES))
    .option("--beta <x>", "of jsd (default: 0.5), skew_kl and skew_reverse_kl (default: 0.1)", number)
    .option("--temperature <x>", "of both distributions (default: 1)", number)
    .option("--scale-temperature", "the distance counts times temperature squared")
    .option("--ce-weight <x>", "of the samples' own tokens (default: 0.5)", number)
    .option("--kd-weight <x>", "of the distance to the teacher (default: 0.5)", number)
    .option(
      "--recursive <shares>",
      'instead of a student: prune the teacher and teach what is left, again and again: "100% > 50% > 25%"',
    )
    .option("--calibration <file>", "of --recursive: what pruning measures on (default: the data)", collect)
    .option("--calibration-tokens <n>", "of --recursive: tokens of it (default: 32768)", count(1))
    .option("--task <file>", "of --recursive: a task that every generation is scored at")
    .option("--cache <file>", "what the teacher says of the samples: made once, then learned from without it")
    .option("--top-k <n>", "tokens of a position that it holds (default: 64; of endpoints 20)", count(1))
    .option(
      "--on-policy <x>",
      "share of samples whose answers the student writes, for the teacher to judge (default: 0.5)",
      number,
    )
    .option("--on-policy-from <x>", "from which part of the run on (default: 0.75)", number)
    .addOption(
      choice("--on-policy-loss <name>", "distance on such text (default: reverse_kl for forward_kl)", LOSSES),
    )
    .option("--on-policy-temperature <x>", "of what it writes (default: 1)", number)
    .option(
      "--max-tokens <n>",
      "most tokens that it writes of a sample (default: the longest answer)",
      count(1),
    )
    .addOption(
      choice(
        "--keep <which>",
        "weights: of the best evaluation, or the last (default: last with --on-policy)",
        ["best", "last"],
      ),
    )
    .option("--model <name>", "of endpoints: the model's name (default: the one that they serve)")
    .option("--allow-host <name>", "a host that may be sent to; may be given more than once", collect)
    .option("--concurrency <n>", "requests at once, of each URL (default: 8)", count(1));
  addSampleOptions(distill);
  addTrainingOptions(distill).action(async (_options, command: Command) =>
    (await import("./distill.ts")).distill(command.optsWithGlobals()),
  );

  pith
    .command("prune")
    .description("Write a smaller model: what does least on calibration data is left out.")
    .argument("<model>", MODEL)
    .option("--calibration <file>", "text or samples to measure on; may be given more than once", collect)
    .option("--to <share>", "the share of the parameters that stays, 50% or 0.5; sizes are tried out", share)
    .option("--layers <n>", "or sizes: layers that stay", count(1))
    .option("--ffn <n>", "intermediate size", count(1))
    .option("--heads <n>", "attention heads", count(1))
    .option(
      "--kv-heads <n>",
      "heads of keys and values (default: whole groups go, where that fits)",
      count(1),
    )
    .option("--hidden <n>", "hidden size", count(1))
    .addOption(
      choice("--depth <how>", "layers one by one, or by one round of trials (default: greedy)", [
        "greedy",
        "once",
      ]),
    )
    .option("--tokens <n>", "of the calibration data that are used (default: 32768)", count(1))
    .option("--trial-tokens <n>", "of these, for each trial (default: 4096)", count(1))
    .option("--ctx <tokens>", "longest sample (default: the model's context, at most 512)", count(2))
    .option("--seed <n>", "of the choice of samples (default: 0)", count(0))
    .requiredOption("--out <folder>", "where the model and the report are written")
    .option("--overwrite", "replace what is there")
    .option("--threads <n>", "threads to compute with", count(1))
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .option("--json", "print JSON at the end")
    .action(async (model, options) => (await import("./prune.ts")).prune(model, options));

  pith
    .command("quantize")
    .description("Write a model in fewer bits, by rounding or calibration, and measure what that costs.")
    .argument("<model>", MODEL)
    .option("--to <types>", `${QUANT_TYPES.join(", ")}; several with commas between`, list(QUANT_TYPES))
    .option(
      "--method <names>",
      `${QUANTIZE_METHODS.join(", ")}; several with commas between (default: rtn)`,
      list(QUANTIZE_METHODS),
    )
    .option("--calibration <file>", "text or samples to calibrate on; may be given more than once", collect)
    .option("--tokens <n>", "of the calibration data that are used (default: 32768)", count(1))
    .option("--samples <n>", "or samples of it; a text is cut into samples", count(1))
    .option("--ctx <tokens>", "longest sample (default: the model's context, at most 512)", count(2))
    .option("--pure", "every matrix in this type (default: the standard mix, as llama.cpp's)")
    .option("--mix <types>", 'types of some matrices: "down_proj=q6_k,layers.0.*=q8_0"')
    .option("--bits <x>", "a mix of at most so many bits a weight, chosen by KL divergence", number)
    .option("--eval <file>", "text to measure the model and what becomes of it on")
    .option("--eval-limit <n>", "at most so many windows of it", count(1))
    .option("--seed <n>", "of the choice of samples (default: 0)", count(0))
    .option("--steps <n>", "of learned: steps of 1024 tokens (default: 384)", count(1))
    .addOption(
      choice("--codes <how>", "of learned: trained beside scales (default up to 5 bits), or fixed", [
        "trained",
        "fixed",
      ]),
    )
    .requiredOption(
      "--out <path>",
      "a name that ends in .gguf, or a folder (compressed-tensors; several variants)",
    )
    .option("--overwrite", "replace what is there")
    .option("--resume", "go on with what an interrupted run has left")
    .option("--dry-run", "show types, sizes and memory, and write nothing")
    .option("--threads <n>", "threads to compute with", count(1))
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .option("--json", "print JSON at the end")
    .action(async (model, options) => (await import("./quantize.ts")).quantize(model, options));

  pith
    .command("make")
    .description("Make what a recipe states: of its steps those that changed, in their order.")
    .argument("[recipe]", "a recipe.mjs (.js, .ts), or the folder that has one (default: this one)", ".")
    .argument("[step...]", "steps to make, and what they read (default: all)")
    .option("--only", "the named steps alone, on what is there of the others")
    .option("--force <step>", "make this step from its beginning; may be given more than once", collect)
    .option("--dry-run", "show which steps would be made, and why, and make nothing")
    .option("--json", "print JSON at the end")
    .action(async (recipe, steps, options) => (await import("./make.ts")).make(recipe, steps, options));

  const exporting = pith
    .command("export")
    .description("Write a PEFT adapter as a GGUF adapter, or back, and measure that both do the same.")
    .argument("<model>", MODEL)
    .argument("<adapter>", "a PEFT folder or a GGUF adapter")
    .argument("<out>", "a name that ends in .gguf, or a folder");
  addModelOptions(exporting)
    .option("--max-kl <nats>", "largest mean KL divergence that counts as the same (default 0.001)", number)
    .option("--overwrite", "replace what is there")
    .option("--json", "print JSON")
    .action(async (model, adapter, out, options) =>
      (await import("./export.ts")).exportTo(model, adapter, out, options),
    );

  const bench = pith
    .command("bench")
    .description("Measure how fast a model runs here.")
    .argument("<model>", MODEL);
  addModelOptions(bench)
    .option("--rounds <n>", "rounds; the median counts", count(1))
    .option("--json", "print JSON")
    .action(async (model, options) => (await import("./bench.ts")).bench(model, options));

  const evaluate = pith
    .command("evaluate")
    .description("Measure how good a model is: perplexity of a text, how far it is from a base, or a task.")
    .argument("<model>", MODEL)
    .option("--text <file>", "a text: its perplexity")
    .option(
      "--base <model>",
      "a model of the same tokenizer to compare with: log-ratio, KL divergence, top-1",
    )
    .option(
      "--stride <n>",
      "windows this far apart, every token scored once (default: llama.cpp's windows)",
      count(1),
    )
    .option("--task <file>", "JSONL with prompt or messages, and the right answer as completion")
    .addOption(
      choice("--metric <name>", "of a task (default: by its first line)", [
        "exact",
        "label",
        "slots",
        "calls",
        "json",
        "choice",
      ]),
    )
    .option("--adapter <path[=scale]>", ADAPTER, collect)
    .option("--out <file>", "keep every answer of a task, as JSONL")
    .option("--max-tokens <n>", "most tokens of an answer (default: by the longest right answer)", count(1))
    .option("--stop <text>", "end an answer before this text; may be given more than once", collect)
    .option("--constrain", "of a task: answers must follow their schema, or that of calls of their tools")
    .option("--verbatim <names>", "of a task of calls: as --constrain, and as of call", names)
    .addOption(
      choice("--long <what>", "are prompts of a task that do not fit the context (default: error)", [
        "error",
        "wrong",
      ]),
    )
    .option("--seed <n>", "of the confidence intervals (default: 1)", count(0))
    .option("--limit <n>", "at most so many windows, or lines of a task", count(1));
  addModelOptions(evaluate, "tokens of a window (default: 512)")
    .option("--json", "print JSON")
    .action(async (model, options) => (await import("./evaluate.ts")).evaluate(model, options));

  const compare = pith
    .command("compare")
    .description(
      "Set models side by side: size, memory, speed, latency, energy, quality, and where the data goes.",
    )
    .argument("<models...>", `two or more: ${MODEL}; one may be the URL of an OpenAI-compatible endpoint`)
    .option("--text <file>", "a text: perplexity, bits a byte, KL divergence to the first model")
    .option("--text-bytes <n>", "so many bytes of it, from its beginning (default: all)", count(1))
    .option("--task <file>", "a task, as evaluate takes it; may be given more than once", collect)
    .option("--task-lines <n>", "so many lines of each (default: all)", count(1))
    .option("--answers <n>", "short answers that are timed (default: 1000, of an endpoint 100)", count(1))
    .option("--answer-seconds <n>", "for at most so long, for each model (default: 30)", number)
    .option("--rounds <n>", "rounds of speeds; the median counts (default: 5)", count(1))
    .option("--out <file>", "write a page that needs nothing else: report.html")
    .option("--md", "print Markdown")
    .option("--json", "print JSON")
    .option(
      "--threads <n>",
      "threads to compute with (default: PITH_THREADS, else the usable cores)",
      count(1),
    )
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .option("--ctx <tokens>", "room of every model (default: the shortest of theirs, at most 4096)", count(1))
    .addOption(choice("--kv <type>", "type of the KV cache (default: f16)", ["f16", "q8_0", "f32"]))
    .option("--model <name>", "of an endpoint: the model's name (default: the one that it serves)")
    .option("--allow-host <name>", "a host that may be sent to; may be given more than once", collect)
    .option("--timeout <seconds>", "longest wait for an answer of it (default: 240)", number);
  compare.action(async (models: string[], _options, command: Command) =>
    (await import("./compare.ts")).compare(models, command.optsWithGlobals()),
  );

  pith
    .command("embed")
    .description("Make vectors of texts with an encoder (bert): a line of JSON for each.")
    .argument("<model>", MODEL)
    .option("--text <text>", "a text; may be given more than once", collect)
    .option("--file <file>", 'texts as JSON lines: strings, or objects with "text"')
    .option("--out <file>", "where the lines go (default: stdout)")
    .option("--prompt <name>", "put the model's prompt of that name before each text")
    .option("--no-normalize", "leave the vectors' lengths as they come")
    .option("--max-length <tokens>", "cut texts to so many tokens (default: the model's longest)", count(1))
    .option("--threads <n>", "threads to compute with", count(1))
    .addOption(choice("--backend <name>", "native, wasm or reference", ["native", "wasm", "reference"]))
    .action(async (model, options) => (await import("./embed.ts")).embed(model, options));

  pith
    .command("pull")
    .description("Download a model from the hub into Hugging Face's cache.")
    .argument("<name>", "owner/name, owner/name:Q4_K_M, owner/name@revision")
    .option("--json", "print JSON")
    .action(async (name, options) => (await import("./pull.ts")).pull(name, options));

  pith
    .command("list")
    .description("List the models in the hub cache.")
    .option("--json", "print JSON")
    .action(async (options) => (await import("./pull.ts")).list(options));

  pith
    .command("remove")
    .description("Remove a model, or one quantization or revision of it, from the hub cache.")
    .argument("<name>", "owner/name, owner/name:Q4_K_M, owner/name@revision")
    .option("--yes", "do not ask")
    .option("--json", "print JSON")
    .action(async (name, options) => (await import("./pull.ts")).remove(name, options));

  pith
    .command("doctor")
    .description("Show what pith finds on this machine: processor, kernels, memory and its bandwidth.")
    .option("--json", "print JSON")
    .action(async (options) => (await import("./doctor.ts")).doctor(options));
  return pith;
}

/** Before any verb: no way out where that was asked for, and the model that it names is brought here. */
async function prepare(root: Command, verb: Command): Promise<void> {
  const { offline, pull } = root.opts<{ offline?: boolean; pull?: boolean }>();
  if (offline) (await import("../hub/offline.ts")).goOffline();
  const kind = verb.registeredArguments[0]?.name();
  const models = kind === "model" ? verb.args.slice(0, 1) : kind === "models" ? verb.args : [];
  for (const given of models) {
    // "path=2" of average; no name on the hub has a "=".
    const model = existsSync(given) ? given : given.replace(/=[^=/]*$/, "");
    if (!existsSync(model) && !/^https?:/i.test(given))
      await (await import("./pull.ts")).locate(model, { pull: pull === true && !offline });
  }
}

/** Runs the command line and gives the exit code: 0 done, 1 it failed, 2 it was called wrongly, 130 interrupted. */
export async function main(argv: readonly string[]): Promise<number> {
  try {
    await program().parseAsync(argv);
    return Number(process.exitCode ?? 0);
  } catch (error) {
    if (error instanceof CommanderError) return error.exitCode === 0 ? 0 : 2;
    process.stderr.write(`pith: ${visible(error instanceof Error ? error.message : String(error))}\n`);
    return process.exitCode === 130 ? 130 : 1;
  }
}

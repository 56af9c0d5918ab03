// Step: the model with its adapter teaches a smaller one, which is written in 4 bits and in three values a weight; all side by
// side. The student is cut out of the teacher: in a minute that gets further than random weights do.

import { writeFile } from "node:fs/promises";
import { type CompareResult, compare } from "../../compare/index.ts";
import { distill, dryDistill } from "../../distill/index.ts";
import { fuse, openAdapter, openModel } from "../../models/index.ts";
import { prune } from "../../prune/index.ts";
import { quantize } from "../../quantize/index.ts";
import { htmlTable } from "../../report/page.ts";
import { scatterChart } from "../../report/scatter.ts";
import { escapeXml } from "../../report/svg.ts";
import { type Example, generator } from "../invent.ts";
import {
  computing,
  count,
  engineOf,
  type Found,
  followed,
  type Step,
  sampleLine,
  shellWord,
  stepsIn,
  taskLine,
  tried,
  type Work,
} from "../work.ts";

/** Half of its layers, half of their neurons. */
const smaller = (layers: number, ffn: number) => ({
  layers: Math.max(1, layers >> 1),
  ffn: Math.max(256, Math.floor(ffn / 2 / 256) * 256),
});
const STUDENT = { lr: 1.5e-3, batch_tokens: 2048, on_policy: 0, max_steps: 400 };
const TERNARY = { ...STUDENT, max_steps: 200 };
/** Turns of a sample of other tools. */
const TURNS = 3;
/** Sentences that the teacher answers at a time. */
const AT_ONCE = 32;

async function run(work: Work): Promise<Found> {
  const { amounts, path, place, shown, signal, made, tell, options, model } = work;
  const engine = engineOf(options);
  const names = { teacher: "teacher", pruned: "cut", student: "student", ternary: "ternary" };

  await fuseAdapter(path, made.adapter!, place(names.teacher), signal);
  const data = place("student.jsonl");
  const samples = await teacherSamples(work);
  await writeFile(data, samples.join("\n"));
  const others = place("others.task.jsonl");
  await writeFile(others, (await otherTask(work, amounts.other_lines)).join("\n"));

  const sizes = smaller(model.config.num_hidden_layers, model.config.intermediate_size);
  const cut = prune(place(names.teacher), {
    ...sizes,
    out: place(names.pruned),
    calibration: data,
    tokens: 8192,
    ...engine,
    signal,
  });
  for await (const { stage, done, total } of cut) tell(`cutting it down: ${stage}`, done, Math.max(1, total));
  const { before, after } = await cut.result;

  const teach = { ...computing(work), data, teacher: place(names.teacher) };
  const fit = async <T extends { readonly max_steps: number }>(from: string, seconds: number, given: T) => {
    tell("looking how fast it learns", 0, 1);
    const dry = await dryDistill(place(from), { ...teach, ...given, max_steps: 8 }, { samples: 0 });
    return { ...given, max_steps: stepsIn(seconds, dry, given.max_steps), epochs: 1e6 };
  };
  const plain = await fit(names.pruned, amounts.student_seconds, STUDENT);
  const student = await followed(
    work,
    "the student learns",
    distill(place(names.pruned), { ...teach, ...plain, out: place(names.student) }),
  );
  const three = await fit(names.student, amounts.ternary_seconds, { ...TERNARY, method: "ternary" as const });
  const ternary = await followed(
    work,
    "with three values a weight",
    distill(place(names.student), { ...teach, ...three, out: place(names.ternary) }),
  );
  for (const [from, to, out] of [
    [names.student, "q4_0", "student-q4.gguf"],
    [names.ternary, "tq2_0", "student-ternary.gguf"],
  ] as const)
    await quantize(place(from), { to, out: place(out), ...engine, signal }).result;

  const models = ["teacher", "student", "student-q4.gguf", "student-ternary.gguf"];
  const comparing = compare(models.map(place), {
    task: [place("held-out.task.jsonl"), others],
    answers: amounts.answers,
    answer_seconds: 2,
    rounds: 2,
    ...engine,
    signal,
  });
  for await (const { model, stage, done, total } of comparing)
    tell(`comparing: ${model}, ${stage}`, done, Math.max(1, total));
  const result = await comparing.result;
  return found(work, result, {
    samples: samples.length,
    parameters: [before.parameters, after.parameters],
    steps: [plain.max_steps, three.max_steps],
    seconds: [student.seconds, ternary.seconds],
    sizes,
    commands: commandsOf(shown, path, sizes, plain.max_steps, three.max_steps),
  });
}

/** The adapter in the weights: one model that knows both. */
async function fuseAdapter(path: string, adapter: string, out: string, signal: AbortSignal): Promise<void> {
  const [model, opened] = [await openModel(path), await openAdapter(adapter, signal)];
  try {
    await fuse(model, [{ adapter: opened, scale: 1 }], out, { signal });
  } finally {
    await opened.close();
    await model.close();
  }
}

/** What the student is taught with: sentences of the house that the teacher answered, and samples of other tools. */
async function teacherSamples({
  model,
  material,
  amounts,
  chance,
  signal,
  tell,
  seed,
}: Work): Promise<string[]> {
  const { tools, unanswered, examples } = material;
  const lines = examples.map((one) => sampleLine(tools, one));
  for (let at = 0; at < unanswered.length; at += AT_ONCE) {
    const some = unanswered.slice(at, at + AT_ONCE);
    const answers = await Promise.all(
      some.map((prompt) => tried(model, { tools, prompt, adapter: "house", signal })),
    );
    // Of a sentence without an answer nothing is learned.
    for (const [i, answer] of answers.entries())
      if ("kind" in answer && answer.kind === "calls")
        lines.push(sampleLine(tools, { text: some[i]!, answer: answer.calls }));
    tell("the teacher answers", at + some.length, unanswered.length);
  }
  const { Procedural } = await generator();
  const source = new Procedural(seed, "train");
  for (let i = 0; i < amounts.others; i++) {
    const { tools, turns } = source.sample(TURNS);
    for (const turn of turns.filter(({ answer }) => Array.isArray(answer)).slice(0, 1))
      lines.push(sampleLine(tools, turn));
  }
  return chance.shuffle(lines);
}

/** Sentences about tools of other fields, which neither was trained on. */
async function otherTask({ seed }: Work, n: number): Promise<string[]> {
  const { Procedural } = await generator();
  const source = new Procedural(seed, "dev");
  const lines: string[] = [];
  while (lines.length < n) {
    const { tools, turns } = source.sample(1, 3);
    const turn = turns.find(({ answer }) => Array.isArray(answer)) as Example | undefined;
    if (turn) lines.push(taskLine(tools, turn));
  }
  return lines;
}

function commandsOf(
  shown: Work["shown"],
  path: string,
  { layers, ffn }: { layers: number; ffn: number },
  steps: number,
  ternarySteps: number,
): string[] {
  const at = (name: string) => shellWord(shown(name));
  const how = (n: number) =>
    `--data ${at("student.jsonl")} --lr ${STUDENT.lr} --batch-tokens ${STUDENT.batch_tokens} --on-policy 0 --steps ${n} --compute bf16`;
  return [
    `npx pith fuse ${shellWord(path)} my-teacher --adapter ${at("adapter")}`,
    `npx pith prune my-teacher --layers ${layers} --ffn ${ffn} --calibration ${at("student.jsonl")} --out my-cut`,
    `npx pith distill --teacher my-teacher --student my-cut ${how(steps)} --out my-student`,
    "npx pith quantize my-student --to q4_0 --out my-student-q4.gguf",
    `npx pith distill --teacher my-teacher --student my-student --method ternary ${how(ternarySteps)} --out my-ternary`,
    "npx pith quantize my-ternary --to tq2_0 --out my-student-ternary.gguf",
    `npx pith compare my-teacher my-student my-student-q4.gguf my-student-ternary.gguf --task ${at("held-out.task.jsonl")} --task ${at("others.task.jsonl")} --out compared.html`,
  ];
}

interface Told {
  readonly samples: number;
  readonly parameters: readonly [number, number];
  readonly steps: readonly [number, number];
  readonly seconds: readonly [number, number];
  readonly sizes: { readonly layers: number; readonly ffn: number };
  readonly commands: readonly string[];
}

const NAMES = ["teacher", "student", "student, 4 bits", "student, ternary"];

function found({ model }: Work, result: CompareResult, told: Told): Found {
  const right = (i: number, task: number) => {
    const { lines, scores } = result.models[i]!.tasks[task]!;
    return { right: Math.round(scores.whole_right!.value * lines), lines, ...scores.whole_right! };
  };
  const rows = result.models.map((one, i) => {
    const [own, other] = [right(i, 0), right(i, 1)];
    return [
      NAMES[i]!,
      million(one.parameters ?? 0),
      `${((one.file_bytes ?? 0) / 1e6).toFixed(2)} MB`,
      (one.bits_per_weight ?? 0).toFixed(1),
      `${own.right} of ${own.lines}`,
      `${other.right} of ${other.lines}`,
      `${Math.round(one.speed?.decode ?? 0)}`,
      `${(one.answers?.p50 ?? 0).toFixed(1)}`,
    ];
  });
  const head = [
    "",
    "parameters",
    "file",
    "bits a weight",
    "this house",
    "other tools",
    "tokens/s",
    "ms, 16 tokens",
  ];
  const widths = head.map((name, i) => Math.max(name.length, ...rows.map((row) => row[i]!.length)));
  const line = (row: readonly string[]) =>
    row
      .map((cell, i) => (i === 0 ? cell.padEnd(widths[i]!) : cell.padStart(widths[i]!)))
      .join("  ")
      .trimEnd();
  const [before, after] = told.parameters;
  const made = `The teacher is the model with its adapter merged in. A student of ${million(after)} parameters instead of ${million(before)} was cut out of it (${told.sizes.layers} of ${model.config.num_hidden_layers} layers, ${told.sizes.ffn} of ${model.config.intermediate_size} neurons in each) and taught by it for ${count(told.steps[0], "step")} (${told.seconds[0].toFixed(0)} s), then ${count(told.steps[1], "step")} (${told.seconds[1].toFixed(0)} s) more with three values a weight.`;
  const [a, b] = [right(0, 1), right(1, 1)];
  const lost = `Small models win by speciality: on tools of other fields the teacher answers ${a.right} of ${a.lines} right, the student ${b.right}. Answers of this table were not constrained to the schemas.`;
  const points = (x: (i: number) => number, task: number) =>
    result.models.map((_, i) => {
      const { value, low, high } = right(i, task);
      return {
        name: NAMES[i]!,
        x: x(i),
        y: 100 * value,
        low: 100 * low,
        high: 100 * high,
        colour: ((i % 4) + 1) as 1 | 2 | 3 | 4,
      };
    });
  const size = (i: number) => (result.models[i]!.file_bytes ?? 0) / 1e6;
  const charts = [
    scatterChart({
      title: "Right in this house, % (higher is better)",
      x: "size of the file, MB",
      points: points(size, 0),
    }),
    scatterChart({
      title: "Right on other tools, % (higher is better)",
      x: "size of the file, MB",
      points: points(size, 1),
    }),
  ];
  return {
    lines: [made, line(head), ...rows.map(line), lost],
    commands: told.commands,
    figures: Object.fromEntries([
      ["samples", told.samples],
      ["parameters", before],
      ["student_parameters", after],
      ...result.models.flatMap((one, i) => {
        const name = ["teacher", "student", "q4", "ternary"][i]!;
        return [
          [`${name}_bytes`, one.file_bytes ?? 0],
          [`${name}_right`, right(i, 0).right],
          [`${name}_right_others`, right(i, 1).right],
          [`${name}_tokens_per_second`, one.speed?.decode ?? 0],
        ];
      }),
      ["lines", right(0, 0).lines],
      ["lines_others", right(0, 1).lines],
    ]) as Record<string, number>,
    page: `<p>${escapeXml(made)}</p>${htmlTable(head, rows)}<p>${escapeXml(lost)}</p>${charts.map((chart) => `<figure>${chart}</figure>`).join("")}`,
  };
}

const million = (n: number) => `${(n / 1e6).toFixed(2)} M`;

export const shrink: Step = { id: "shrink", title: "A smaller model, taught by the larger one", run };

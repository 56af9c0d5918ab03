// One attempt at a sample: a prompt asked for in the manner of some seeds, its answers, and what speaks against them.

import { Random } from "../train/random.ts";
import { NearDuplicates } from "./near-duplicates.ts";
import { agree, checkAnswer, type Reason } from "./synthesize-answers.ts";
import type { Plan } from "./synthesize-plan.ts";
import {
  askAnswer,
  askPrompt,
  chooseSeeds,
  type Seed,
  type Seeds,
  writtenPrompt,
} from "./synthesize-seeds.ts";
import type { Writer } from "./synthesize-writer.ts";

/** What an attempt gave: a prompt (or text), and its answer or why it has none. */
export interface Candidate {
  readonly prompt: string;
  readonly answer: { readonly text: string } | Reason;
  readonly line: object;
}

/** Makes candidates, and knows what was accepted. */
export class Attempts {
  readonly #writer: Writer;
  readonly #seeds: Seeds;
  readonly #plan: Plan;
  readonly #shown: readonly Seed[];
  readonly #answerShots: number;
  readonly #known: NearDuplicates;

  constructor(writer: Writer, seeds: Seeds, plan: Plan) {
    this.#writer = writer;
    this.#seeds = seeds;
    this.#plan = plan;
    // The seeds' own prompts may be as much alike as they are: only the same answer to the same one is a duplicate.
    this.#known = new NearDuplicates(plan.prompts === "new" ? plan.near : 1);
    const answered = seeds.seeds.filter(({ answer }) => answer !== undefined);
    this.#answerShots = plan.answerShots ?? (writer.chat || answered.length === 0 ? 0 : plan.shots);
    if (this.#answerShots > 0 && answered.length === 0)
      throw new TypeError("Cannot synthesize with answerShots: no seed has an answer, wanted some that have");
    this.#shown = this.#answerShots > 0 ? answered : seeds.seeds;
    if (plan.prompts === "new") for (const { prompt } of seeds.seeds) this.#known.add(prompt);
    else if (seeds.kind === "text")
      throw new TypeError('Cannot answer seeds that are texts: wanted prompts, or prompts: "new"');
    if (seeds.kind === "text" && (plan.schema !== undefined || plan.agree > 1))
      throw new TypeError(
        "Cannot ask for a schema or agreement of seeds that are texts: wanted prompts with answers",
      );
    if (seeds.kind === "chat" && !writer.chat)
      throw new TypeError(
        "Cannot answer conversations with a teacher that cannot chat: wanted prompts of text",
      );
    const long = seeds.seeds.find(
      ({ messages }) => messages?.filter(({ role }) => role !== "system").length !== 1,
    );
    if (plan.prompts === "new" && seeds.kind === "chat" && long)
      throw new TypeError(
        `Cannot write new prompts from conversations of several turns: the seed in line ${long.line} is one, wanted one question each, or prompts: "seeds"`,
      );
  }

  /** Attempts that can differ: asked alike again, a teacher at temperature 0 says what it said. */
  get different(): number {
    const { prompts, temperature } = this.#plan;
    const alike = prompts === "seeds" && temperature === 0 && this.#answerShots === 0;
    return alike ? this.#seeds.seeds.length : Number.MAX_SAFE_INTEGER;
  }

  accept(compared: string): void {
    this.#known.add(compared);
  }

  isDuplicate(compared: string): boolean {
    return this.#known.has(compared);
  }

  /** Text that near-duplicates are looked for in; without an answer to a seed's prompt there is nothing to look for. */
  compared({ prompt, answer }: Candidate): string | undefined {
    if (this.#plan.prompts === "new") return prompt;
    return typeof answer === "string" ? undefined : `${prompt}\n${answer.text}`;
  }

  async make(attempt: number, signal: AbortSignal): Promise<Candidate | Reason> {
    const { prompts, seed, shots } = this.#plan;
    const { kind, seeds } = this.#seeds;
    // One more, since a seed is no example of itself.
    const examples = chooseSeeds(this.#shown, Math.max(shots, this.#answerShots) + 1, seed, attempt);
    const own = prompts === "seeds" ? seeds[attempt % seeds.length]! : undefined;
    const shown = own ? [own] : examples.slice(0, shots);
    const asked = own ?? (await this.#prompt(shown, attempt, signal));
    if (typeof asked === "string") return asked;
    const { prompt } = asked;
    const source = { attempt, seeds: shown.map(({ line }) => line) };
    if (kind === "text") return { prompt, answer: { text: prompt }, line: { text: prompt, source } };
    // No answer to what will be refused anyway.
    if (prompts === "new" && this.isDuplicate(prompt)) return { prompt, answer: "duplicate", line: {} };
    const messages = own?.messages ?? (kind === "chat" ? newConversation(prompt, examples[0]!) : undefined);
    const before = examples.filter((example) => example !== own).slice(0, this.#answerShots);
    const answer = await this.#answer(prompt, before, messages, attempt, signal);
    if (typeof answer === "string") return { prompt, answer, line: {} };
    const line =
      kind === "chat"
        ? { messages: [...messages!, { role: "assistant", content: answer.text }], source }
        : { prompt, completion: answer.text, source };
    return { prompt, answer, line };
  }

  async #prompt(
    examples: readonly Seed[],
    attempt: number,
    signal: AbortSignal,
  ): Promise<{ prompt: string } | Reason> {
    const { promptTokens, temperature, topP, seed, minPrompt, maxPrompt, maxTokens, minLength, maxLength } =
      this.#plan;
    const { kind } = this.#seeds;
    const whole = kind === "text";
    const { text, finished } = await this.#writer.write(
      {
        ...askPrompt(kind, examples, this.#writer.chat),
        maxTokens: whole ? maxTokens : promptTokens,
        temperature,
        ...(topP !== undefined && { topP }),
        seed: seedOf(seed, attempt, 0),
        answer: false,
      },
      signal,
    );
    if (!finished) return whole ? "cut" : "prompt_cut";
    const prompt = writtenPrompt(text);
    const length = [...prompt].length;
    const [min, max] = whole ? [minLength, maxLength] : [minPrompt, maxPrompt];
    if (length >= Math.max(1, min) && length <= max) return { prompt };
    return whole ? "length" : "prompt_length";
  }

  async #answer(
    prompt: string,
    examples: readonly Seed[],
    messages: Seed["messages"],
    attempt: number,
    signal: AbortSignal,
  ): Promise<{ text: string } | Reason> {
    const plan = this.#plan;
    const { chat } = this.#writer;
    const { prompt: whole, stop } = askAnswer(prompt, examples, messages, plan.system, chat);
    const written = await Promise.all(
      Array.from({ length: plan.agree }, (_, j) =>
        this.#writer.write(
          {
            prompt: whole,
            stop: [...stop, ...plan.stop],
            maxTokens: plan.maxTokens,
            temperature: plan.temperature,
            ...(plan.topP !== undefined && { topP: plan.topP }),
            seed: seedOf(plan.seed, attempt, j + 1),
            ...(plan.schema !== undefined && { schema: plan.schema }),
            answer: true,
          },
          signal,
        ),
      ),
    );
    const answer = agree(
      written.map((one) => checkAnswer(one, plan)),
      plan.agreeShare,
    );
    if (typeof answer === "string") return answer;
    if (chat) return { text: answer.text.trim() };
    // After "Answer:" a model writes a space of its own; what stands there is what the seeds have.
    const lead = examples.length > 0 ? /^\s*/.exec(examples[0]!.answer!)![0] : /^\s*/.exec(answer.text)![0];
    return { text: lead + answer.text.trim() };
  }
}

/** A prompt behind the system's message of an example. */
function newConversation(prompt: string, { messages }: Seed): NonNullable<Seed["messages"]> {
  return [...messages!.filter(({ role }) => role === "system"), { role: "user", content: prompt }];
}

/** Of 31 bits: some servers take no more. */
const seedOf = (seed: number, attempt: number, sample: number): number =>
  new Random(seed, 0x74657874, attempt, sample).next() >>> 1;

// What an answer must look like: a constraint of the caller, as a grammar that the library follows.

import { LIMITS, within } from "./limits.ts";
import { regexExpression } from "./regex.ts";
import { Rules } from "./rules.ts";
import { type JsonSchema, schemaGrammar } from "./schema.ts";

export { LIMITS } from "./limits.ts";
export { Grammars, type TokenMasker } from "./masker.ts";
export type { JsonSchema } from "./schema.ts";

/** At most one of these: what the whole answer must be. */
export interface ConstraintOptions {
  /** One JSON document that satisfies this schema, compact or with a space after ":" and ",". */
  readonly schema?: JsonSchema;
  /** A text that this regular expression matches from beginning to end (JavaScript's syntax, flag u, no look-around). */
  readonly regex?: string | RegExp;
  /** A text of this grammar: XGrammar's EBNF, beginning with the rule `root`. */
  readonly grammar?: string;
}

/**
 * The grammar of a constraint; undefined where there is none.
 * @throws {TypeError | SyntaxError | RangeError} on what cannot be honoured, before any work is done
 */
export function constraintGrammar({ schema, regex, grammar }: ConstraintOptions): string | undefined {
  const given = [schema, regex, grammar].filter((one) => one !== undefined).length;
  if (given === 0) return undefined;
  if (given > 1) throw new TypeError("Cannot constrain by more than one of schema, regex and grammar");
  if (schema !== undefined) return schemaGrammar(schema);
  if (regex !== undefined) {
    const rules = new Rules();
    const flags = regex instanceof RegExp ? regex.flags.replace(/[ugy]/g, "") : "";
    if (flags !== "")
      throw new SyntaxError(
        `Cannot constrain by a regex with the flags ${JSON.stringify(flags)}: wanted none but u`,
      );
    const source = regex instanceof RegExp ? regex.source : regex;
    return rules.text(regexExpression(rules, source, "plain", "a regex"));
  }
  if (typeof grammar !== "string")
    throw new TypeError(`Cannot constrain by a grammar that is ${typeof grammar}, wanted a string`);
  within("characters", "a grammar", grammar.length, LIMITS.text);
  return grammar;
}

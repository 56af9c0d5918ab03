// Template source -> syntax tree. The lexer and the parser are @huggingface/jinja's; the node types are written out
// here because the package's own declarations do not resolve under Node's module rules.

import * as jinja from "@huggingface/jinja";

/** Longest source of a template; the largest published one has 17 KB. */
export const MAX_SOURCE = 256 * 1024;
/** The lexer's time grows with the square of a run of white space. */
const MAX_BLANK = 512;

interface Literal<Type extends string, T> {
  type: Type;
  value: T;
}

export type Identifier = Literal<"Identifier", string>;
export type Parameter = Identifier | KeywordArgument;

interface KeywordArgument {
  type: "KeywordArgumentExpression";
  key: Identifier;
  value: Node;
}

export interface CallNode {
  type: "CallExpression";
  callee: Node;
  args: Node[];
}

export interface ForNode {
  type: "For";
  loopvar: Node;
  iterable: Node;
  body: Node[];
  defaultBlock: Node[];
}

export interface SetNode {
  type: "Set";
  assignee: Node;
  value: Node | null;
  body: Node[];
}

export interface MacroNode {
  type: "Macro";
  name: Identifier;
  args: Parameter[];
  body: Node[];
}

export interface CallStatementNode {
  type: "CallStatement";
  call: CallNode;
  callerArgs: Parameter[] | null;
  body: Node[];
}

export interface SliceNode {
  type: "SliceExpression";
  start?: Node;
  stop?: Node;
  step?: Node;
}

export interface BinaryNode {
  type: "BinaryExpression";
  operator: { value: string };
  left: Node;
  right: Node;
}

export type Node =
  | { type: "Program"; body: Node[] }
  | { type: "If"; test: Node; body: Node[]; alternate: Node[] }
  | ForNode
  | SetNode
  | MacroNode
  | CallStatementNode
  | { type: "FilterStatement"; filter: Identifier | CallNode; body: Node[] }
  | { type: "Break" }
  | { type: "Continue" }
  | { type: "Comment" }
  | Identifier
  | Literal<"IntegerLiteral", number>
  | Literal<"FloatLiteral", number>
  | Literal<"StringLiteral", string>
  | Literal<"ArrayLiteral", Node[]>
  | Literal<"TupleLiteral", Node[]>
  | Literal<"ObjectLiteral", Map<Node, Node>>
  | { type: "MemberExpression"; object: Node; property: Node; computed: boolean }
  | CallNode
  | { type: "UnaryExpression"; operator: { value: string }; argument: Node }
  | BinaryNode
  | { type: "FilterExpression"; operand: Node; filter: Identifier | CallNode }
  | { type: "TestExpression"; operand: Node; negate: boolean; test: Identifier }
  | { type: "SelectExpression"; lhs: Node; test: Node }
  | { type: "Ternary"; condition: Node; trueExpr: Node; falseExpr: Node }
  | SliceNode
  | KeywordArgument
  | { type: "SpreadExpression"; argument: Node }
  | { type: "KeywordSpreadExpression"; argument: Node };

/**
 * @param name - of the template, for errors.
 * @throws {RangeError} for a source that is too long or nested too deep. @throws {SyntaxError} for one that is no
 *   template.
 */
export function parseTemplate(source: string, name: string): Node {
  const at = `Cannot read chat template ${JSON.stringify(name)}: `;
  if (source.length > MAX_SOURCE) {
    throw new RangeError(`${at}it has ${source.length} characters, want at most ${MAX_SOURCE}`);
  }
  if (longestBlank(source) > MAX_BLANK) {
    throw new RangeError(`${at}it has more than ${MAX_BLANK} blanks in a row, want fewer`);
  }
  try {
    return new jinja.Template(source).parsed as unknown as Node;
  } catch (error) {
    if (error instanceof RangeError) throw new RangeError(`${at}it is nested too deep`);
    throw new SyntaxError(`${at}${(error as Error).message}`);
  }
}

function longestBlank(source: string): number {
  let longest = 0;
  let run = 0;
  for (let i = 0; i < source.length; i++) {
    run = source.charCodeAt(i) <= 0x20 || /\s/.test(source[i]!) ? run + 1 : 0;
    if (run > longest) longest = run;
  }
  return longest;
}

// Runs a template's syntax tree: values in, text with provenance out. Every step is paid for from a budget, and no
// object of the host can be reached.

import { type Budget, MAX_CALLS } from "./budget.ts";
import { applyFilter, applyTest, contains, elements, member } from "./filters.ts";
import type {
  BinaryNode,
  CallNode,
  CallStatementNode,
  ForNode,
  Identifier,
  Node,
  Parameter,
  SetNode,
  SliceNode,
} from "./parse.ts";
import { Text } from "./text.ts";
import {
  type Arguments,
  asKey,
  Callable,
  compare,
  type Dict,
  equal,
  Float,
  kind,
  Namespace,
  numeric,
  print,
  truthy,
  type Value,
} from "./values.ts";

/** Names of a block; what is not here is looked for outside. */
class Scope {
  readonly names = new Map<string, Value>();
  readonly #outer: Scope | undefined;

  constructor(outer?: Scope) {
    this.#outer = outer;
  }

  get(name: string): Value {
    for (let scope: Scope | undefined = this; scope; scope = scope.#outer) {
      const found = scope.names.get(name);
      if (found !== undefined || scope.names.has(name)) return found;
    }
    return undefined;
  }
}

/** `{% break %}` and `{% continue %}` on their way out. */
class LoopExit {
  readonly kind: "Break" | "Continue";
  constructor(kind: "Break" | "Continue") {
    this.kind = kind;
  }
}

/** Runs a template. `globals` are the names it starts with; `literal` makes the text of its literals. */
export function runTemplate(
  program: Node,
  globals: ReadonlyMap<string, Value>,
  budget: Budget,
  literal: (value: string) => Text,
): Text {
  const interpreter = new Interpreter(budget, literal);
  const scope = new Scope();
  for (const [name, value] of globals) scope.names.set(name, value);
  if (program.type !== "Program") throw new TypeError(`a template begins with ${program.type}`);
  return interpreter.block(program.body, new Scope(scope));
}

class Interpreter {
  readonly #budget: Budget;
  /** Text of each literal, made once. */
  readonly #literals = new Map<Node, Text>();
  readonly #makeLiteral: (value: string) => Text;
  #calls = 0;

  constructor(budget: Budget, literal: (value: string) => Text) {
    this.#budget = budget;
    this.#makeLiteral = literal;
  }

  block(body: readonly Node[], scope: Scope): Text {
    const out: Text[] = [];
    this.#run(body, scope, out);
    return this.#concat(out);
  }

  #concat(parts: readonly Text[]): Text {
    let length = 0;
    for (const part of parts) {
      length += part.length;
      this.#budget.spend(1 + part.ranges / 16);
    }
    this.#budget.makeText(length);
    return parts.length === 0 ? Text.empty : Text.concat(parts);
  }

  #run(body: readonly Node[], scope: Scope, out: Text[]): void {
    for (const node of body) {
      switch (node.type) {
        case "If":
          this.#budget.spend(1);
          this.#run(truthy(this.#evaluate(node.test, scope)) ? node.body : node.alternate, scope, out);
          break;
        case "For":
          this.#for(node, scope, out);
          break;
        case "Set":
          this.#set(node, scope);
          break;
        case "Macro":
          scope.names.set(node.name.value, this.#macro(node.name.value, node, scope));
          break;
        case "CallStatement":
          out.push(print(this.#callStatement(node, scope), this.#budget));
          break;
        case "FilterStatement": {
          const inner = this.block(node.body, new Scope(scope));
          out.push(print(this.#filter(inner, node.filter, scope), this.#budget));
          break;
        }
        case "Break":
        case "Continue":
          throw new LoopExit(node.type);
        case "Comment":
          break;
        default:
          out.push(print(this.#evaluate(node, scope), this.#budget));
      }
    }
  }

  #for(node: ForNode, outer: Scope, out: Text[]): void {
    const budget = this.#budget;
    const filtered = node.iterable.type === "SelectExpression" ? node.iterable : undefined;
    let all = elements(this.#evaluate(filtered ? filtered.lhs : node.iterable, outer), budget);
    if (filtered) {
      all = all.filter((item) => {
        const scope = new Scope(outer);
        this.#bind(node.loopvar, item, scope);
        return truthy(this.#evaluate(filtered.test, scope));
      });
    }
    const { length } = all;
    budget.spend(1 + length);
    for (let i = 0; i < length; i++) {
      budget.spend(4);
      const scope = new Scope(outer);
      scope.names.set("loop", this.#loop(all, i));
      this.#bind(node.loopvar, all[i], scope);
      try {
        this.#run(node.body, scope, out);
      } catch (exit) {
        if (!(exit instanceof LoopExit)) throw exit;
        if (exit.kind === "Break") break;
      }
    }
    if (length === 0) this.#run(node.defaultBlock, new Scope(outer), out);
  }

  #loop(all: readonly Value[], i: number): Dict {
    const { length } = all;
    return new Map<string, Value>([
      ["index", i + 1],
      ["index0", i],
      ["revindex", length - i],
      ["revindex0", length - i - 1],
      ["first", i === 0],
      ["last", i === length - 1],
      ["length", length],
      ["previtem", all[i - 1]],
      ["nextitem", all[i + 1]],
      ["cycle", new Callable("cycle", ({ positional }) => positional[i % Math.max(1, positional.length)])],
    ]);
  }

  #bind(target: Node, value: Value, scope: Scope): void {
    if (target.type === "Identifier") {
      scope.names.set(target.value, value);
    } else if (target.type === "TupleLiteral") {
      const parts = elements(value, this.#budget);
      if (parts.length !== target.value.length) {
        throw new TypeError(`it unpacks ${parts.length} values into ${target.value.length} names`);
      }
      for (const [i, part] of target.value.entries()) this.#bind(part, parts[i], scope);
    } else if (
      target.type === "MemberExpression" &&
      target.property.type === "Identifier" &&
      !target.computed
    ) {
      const object = this.#evaluate(target.object, scope);
      if (!(object instanceof Namespace))
        throw new TypeError(`it sets a field of ${kind(object)}, want a namespace`);
      object.fields.set(target.property.value, value);
    } else {
      throw new TypeError(`it assigns to a ${target.type}, want a name`);
    }
  }

  #set(node: SetNode, scope: Scope): void {
    this.#budget.spend(1);
    const value = node.value ? this.#evaluate(node.value, scope) : this.block(node.body, new Scope(scope));
    this.#bind(node.assignee, value, scope);
  }

  #macro(name: string, node: { args?: Parameter[]; body: Node[] }, outer: Scope): Callable {
    return new Callable(name, (args) => this.#callMacro(name, node.args ?? [], node.body, args, outer));
  }

  #callMacro(name: string, parameters: Parameter[], body: Node[], args: Arguments, outer: Scope): Text {
    if (++this.#calls > MAX_CALLS)
      throw new RangeError(`its macro ${name} is called ${MAX_CALLS} deep, want less`);
    try {
      const scope = new Scope(outer);
      const named = new Map(args.named);
      const caller = named.get("caller");
      if (named.delete("caller")) scope.names.set("caller", caller);
      for (const [i, parameter] of parameters.entries()) {
        const key = parameter.type === "Identifier" ? parameter.value : parameter.key.value;
        let value = args.positional[i];
        if (i >= args.positional.length) {
          if (named.has(key)) value = named.get(key);
          else if (parameter.type !== "Identifier") value = this.#evaluate(parameter.value, scope);
        }
        named.delete(key);
        scope.names.set(key, value);
      }
      scope.names.set("varargs", args.positional.slice(parameters.length));
      scope.names.set("kwargs", new Map(named));
      return this.block(body, scope);
    } finally {
      this.#calls--;
    }
  }

  #callStatement(node: CallStatementNode, scope: Scope): Value {
    const caller = this.#macro("caller", { args: node.callerArgs ?? [], body: node.body }, scope);
    const args = this.#arguments(node.call.args, scope);
    const named = new Map(args.named).set("caller", caller);
    return this.#call(this.#evaluate(node.call.callee, scope), { positional: args.positional, named });
  }

  #call(callee: Value, args: Arguments): Value {
    this.#budget.spend(2 + args.positional.length + args.named.size);
    if (!(callee instanceof Callable)) throw new TypeError(`it calls ${kind(callee)}, want a function`);
    return callee.call(args);
  }

  #arguments(nodes: readonly Node[], scope: Scope): Arguments {
    const positional: Value[] = [];
    const named = new Map<string, Value>();
    for (const node of nodes) {
      if (node.type === "KeywordArgumentExpression") {
        named.set(node.key.value, this.#evaluate(node.value, scope));
      } else if (node.type === "SpreadExpression") {
        const all = elements(this.#evaluate(node.argument, scope), this.#budget);
        this.#budget.spend(all.length);
        for (const item of all) positional.push(item);
      } else if (node.type === "KeywordSpreadExpression") {
        const dict = this.#evaluate(node.argument, scope);
        if (!(dict instanceof Map)) throw new TypeError(`it passes ${kind(dict)} as **, want a dict`);
        this.#budget.spend(dict.size);
        for (const [key, value] of dict) named.set(String(key), value);
      } else {
        positional.push(this.#evaluate(node, scope));
      }
    }
    return { positional, named };
  }

  #filter(value: Value, filter: Identifier | CallNode, scope: Scope): Value {
    if (filter.type === "Identifier") return applyFilter(filter.value, value, NO_ARGUMENTS, this.#budget);
    if (filter.callee.type !== "Identifier")
      throw new TypeError(`it uses a ${filter.callee.type} as a filter`);
    return applyFilter(filter.callee.value, value, this.#arguments(filter.args, scope), this.#budget);
  }

  #evaluate(node: Node, scope: Scope): Value {
    this.#budget.spend(1);
    switch (node.type) {
      case "StringLiteral":
        return this.#literal(node, node.value);
      case "IntegerLiteral":
        return node.value;
      case "FloatLiteral":
        return new Float(node.value);
      case "Identifier":
        return scope.get(node.value);
      case "MemberExpression": {
        const object = this.#evaluate(node.object, scope);
        const { property } = node;
        if (!node.computed) {
          const key =
            property.type === "Identifier" ? Text.plain(property.value) : this.#evaluate(property, scope);
          return member(object, key, false, this.#budget);
        }
        if (property.type === "SliceExpression") return this.#slice(object, property, scope);
        return member(object, this.#evaluate(property, scope), true, this.#budget);
      }
      case "CallExpression": {
        const callee = this.#evaluate(node.callee, scope);
        return this.#call(callee, this.#arguments(node.args, scope));
      }
      case "FilterExpression":
        return this.#filter(this.#evaluate(node.operand, scope), node.filter, scope);
      case "TestExpression": {
        const value = this.#evaluate(node.operand, scope);
        return applyTest(node.test.value, value, [], this.#budget) !== node.negate;
      }
      case "BinaryExpression":
        return this.#binary(node, scope);
      case "UnaryExpression":
        return this.#unary(node.operator.value, this.#evaluate(node.argument, scope));
      case "Ternary":
        return this.#evaluate(
          truthy(this.#evaluate(node.condition, scope)) ? node.trueExpr : node.falseExpr,
          scope,
        );
      case "SelectExpression":
        return truthy(this.#evaluate(node.test, scope)) ? this.#evaluate(node.lhs, scope) : undefined;
      case "ArrayLiteral":
      case "TupleLiteral":
        return node.value.map((item) => this.#evaluate(item, scope));
      case "ObjectLiteral": {
        const dict: Dict = new Map();
        for (const [key, value] of node.value) {
          dict.set(asKey(this.#evaluate(key, scope)), this.#evaluate(value, scope));
        }
        return dict;
      }
      default:
        throw new TypeError(`it has a ${node.type} where a value should be`);
    }
  }

  #literal(node: Node, value: string): Text {
    let text = this.#literals.get(node);
    if (!text) this.#literals.set(node, (text = this.#makeLiteral(value)));
    return text;
  }

  #unary(operator: string, value: Value): Value {
    if (operator === "not") return !truthy(value);
    const number = numeric(value);
    if (number === undefined) throw new TypeError(`it takes ${operator} of ${kind(value)}`);
    const result = operator === "-" ? -number : number;
    return value instanceof Float ? new Float(result) : result;
  }

  #binary(node: BinaryNode, scope: Scope): Value {
    const budget = this.#budget;
    const operator = node.operator.value;
    const left = this.#evaluate(node.left, scope);
    if (operator === "and") return truthy(left) ? this.#evaluate(node.right, scope) : left;
    if (operator === "or") return truthy(left) ? left : this.#evaluate(node.right, scope);
    const right = this.#evaluate(node.right, scope);
    switch (operator) {
      case "==":
        return equal(left, right, budget);
      case "!=":
        return !equal(left, right, budget);
      case "in":
        return contains(right, left, budget);
      case "not in":
        return !contains(right, left, budget);
      case "<":
        return compare(left, right, budget) < 0;
      case "<=":
        return compare(left, right, budget) <= 0;
      case ">":
        return compare(left, right, budget) > 0;
      case ">=":
        return compare(left, right, budget) >= 0;
      case "~":
        return this.#concat([print(left, budget), print(right, budget)]);
      case "+":
        if (left instanceof Text && right instanceof Text) return this.#concat([left, right]);
        if (Array.isArray(left) && Array.isArray(right)) {
          budget.makeItems(left.length + right.length);
          return left.concat(right);
        }
        break;
      case "*": {
        const [text, count] = left instanceof Text ? [left, right] : [right, left];
        if (text instanceof Text && typeof count === "number") {
          budget.makeText(text.length * Math.max(0, count));
          budget.makeItems(Math.max(0, count) * (1 + text.ranges));
          return Text.concat([Text.empty, ...Array.from({ length: Math.max(0, count) }, () => text)]);
        }
      }
    }
    return arithmetic(operator, left, right);
  }

  #slice(object: Value, node: SliceNode, scope: Scope): Value {
    const index = (part: Node | undefined): number | undefined => {
      const value = part && this.#evaluate(part, scope);
      if (value === undefined || value === null) return undefined;
      if (typeof value === "number") return value;
      throw new TypeError(`it slices with ${kind(value)}, want whole numbers`);
    };
    const step = index(node.step) ?? 1;
    if (step === 0) throw new RangeError("it slices with step 0");
    const start = index(node.start);
    const stop = index(node.stop);
    if (object instanceof Text && step === 1) {
      const at = (i: number | undefined, none: number) =>
        i === undefined ? none : Math.max(0, Math.min(object.length, i < 0 ? object.length + i : i));
      this.#budget.spendText(object.length + 16 * object.ranges);
      return object.slice(at(start, 0), at(stop, object.length));
    }
    if (!(object instanceof Text) && !Array.isArray(object)) {
      throw new TypeError(`it slices ${kind(object)}, want a list or a string`);
    }
    const all = elements(object, this.#budget);
    const n = all.length;
    const [low, high] = step > 0 ? [0, n] : [-1, n - 1];
    const at = (i: number | undefined, none: number) =>
      i === undefined ? none : Math.max(low, Math.min(high, i < 0 ? n + i : i));
    const from = at(start, step > 0 ? 0 : n - 1);
    const to = at(stop, step > 0 ? n : -1);
    const out: Value[] = [];
    for (let i = from; step > 0 ? i < to : i > to; i += step) out.push(all[i]);
    this.#budget.makeItems(out.length);
    return object instanceof Text ? this.#concat(out as Text[]) : out;
  }
}

const NO_ARGUMENTS: Arguments = { positional: [], named: new Map() };

function arithmetic(operator: string, left: Value, right: Value): Value {
  const a = numeric(left);
  const b = numeric(right);
  if (a === undefined || b === undefined) {
    throw new TypeError(`it computes ${kind(left)} ${operator} ${kind(right)}`);
  }
  if (b === 0 && "/%".includes(operator[0]!)) throw new RangeError("it divides by zero");
  const floats = left instanceof Float || right instanceof Float;
  const result = (value: number): Value => (floats ? new Float(value) : value);
  switch (operator) {
    case "+":
      return result(a + b);
    case "-":
      return result(a - b);
    case "*":
      return result(a * b);
    case "/":
      return new Float(a / b);
    case "//":
      return result(Math.floor(a / b));
    case "%":
      return result(a - b * Math.floor(a / b));
    case "**":
      return b < 0 ? new Float(a ** b) : result(a ** b);
    default:
      throw new TypeError(`it uses the operator ${operator}`);
  }
}

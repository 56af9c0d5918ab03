/** What the pages of docs/ say is so: verbs, options, the names of library options, types of examples, links, messages. */
import { existsSync, readdirSync, readFileSync } from "node:fs";
import { dirname, join, resolve } from "node:path";
import type { Command } from "commander";
import ts from "typescript";
import { beforeAll, describe, expect, test } from "vitest";
import { program } from "../src/cli/program.ts";

const ROOT = resolve(import.meta.dirname, "..");
const DOCS = join(ROOT, "docs");
/** Verbs that share a page. */
const PAGE: Readonly<Record<string, string>> = { list: "pull", remove: "pull", make: "recipes" };
const read = (file: string) => readFileSync(file, "utf8");

const pith = program();
const verbs = pith.commands.map((verb) => verb.name());
const longs = (command: Command) => command.options.map((option) => option.long!);
const GLOBAL = [...longs(pith), "--help"];
const optionsOf = (verb: string) => [...longs(pith.commands.find((one) => one.name() === verb)!), ...GLOBAL];

const names = readdirSync(DOCS).filter((name) => name.endsWith(".md") && name !== "LOG.md");
const pages = new Map(names.map((name) => [name.slice(0, -3), read(join(DOCS, name))]));
const pageOf = (verb: string) => PAGE[verb] ?? verb;
const verbsOf = (page: string) => verbs.filter((verb) => pageOf(verb) === page);

/** Lines of a page, those that end with a backslash joined with the next. */
const lines = (text: string) => text.replace(/\\\n\s*/g, " ").split("\n");
const OPTION = /(?<![\w-])--[a-z][a-z0-9-]*/g;

describe("pages of verbs", () => {
  test.each(verbs)("%s has a page that names its options", (verb) => {
    const text = pages.get(pageOf(verb));
    expect(text, `docs/${pageOf(verb)}.md`).toBeDefined();
    expect(text).toContain(`pith ${verb}`);
    const missing = longs(pith.commands.find((one) => one.name() === verb)!).filter(
      (option) => !new RegExp(`(?<![\\w-])${option}(?![\\w-])`).test(text!),
    );
    expect(missing).toEqual([]);
  });

  test("options that they name exist", () => {
    const wrong: string[] = [];
    for (const [page, text] of [...pages, ["../README", read(join(ROOT, "README.md"))] as const]) {
      const own = verbsOf(page).flatMap(optionsOf);
      for (const line of lines(text)) {
        const called = [...line.matchAll(/(npx |`|-s )?pith (?:-- )?([a-z]+)/g)];
        for (const [, sure, verb] of called)
          if (sure && !verbs.includes(verb!)) wrong.push(`${page}: no verb ${verb}`);
        const named = called.map(([, , verb]) => verb!).filter((verb) => verbs.includes(verb));
        if (own.length === 0 && named.length === 0) continue; // about another program, or in general
        const known = new Set([...own, ...named.flatMap(optionsOf)]);
        for (const [option] of line.matchAll(OPTION))
          if (!known.has(option)) wrong.push(`${page}: ${option} in ${JSON.stringify(line.slice(0, 80))}`);
      }
    }
    expect(wrong).toEqual([]);
  });
});

// Options with their values, and arguments, as the program reads them. Files that values name need not be there.
test("commands in shell blocks can be called so", () => {
  const wrong: string[] = [];
  let commands = 0;
  for (const [page, text] of [...pages, ["../README", read(join(ROOT, "README.md"))] as const])
    for (const [, block] of text.matchAll(/```sh\n(.*?)```/gs))
      for (const line of lines(block!)) {
        const [, verb, rest] = /\bnpx pith ([a-z]+)(.*)/.exec(line) ?? [];
        const command = program().commands.find((one) => one.name() === verb);
        if (!command) continue;
        commands++;
        const said = `${page}: ${line.trim()}`;
        command.configureOutput({ writeErr: () => {} });
        try {
          const { operands, unknown } = command.parseOptions(words(rest!));
          const known = unknown.filter((word) => !GLOBAL.includes(word));
          if (known.length > 0) wrong.push(`${said}: ${known.join(" ")}`);
          const wanted = command.registeredArguments;
          const most = wanted.at(-1)?.variadic ? Infinity : wanted.length;
          const least = wanted.filter(({ required }) => required).length;
          if (operands.length < least || operands.length > most)
            wrong.push(`${said}: ${operands.length} arguments`);
          for (const option of command.options.filter(({ mandatory }) => mandatory))
            if (command.getOptionValue(option.attributeName()) === undefined)
              wrong.push(`${said}: without ${option.long}`);
        } catch (error) {
          if (!/Cannot read it/.test(String(error))) wrong.push(`${said}: ${error}`);
        }
      }
  expect(wrong).toEqual([]);
  expect(commands).toBeGreaterThan(80);
});

/** Words of a line of the shell, without its comment and what it is piped into. */
function words(line: string): string[] {
  const plain = line.replace(/\s(#|>|\|).*$/, "");
  return (plain.match(/"[^"]*"|\S+/g) ?? []).map((word) => word.replaceAll('"', ""));
}

test("links lead to what is there", () => {
  const wrong: string[] = [];
  for (const file of ["README.md", "ARCHITECTURE.md", ...names.map((name) => `docs/${name}`)])
    for (const [, link] of read(join(ROOT, file)).matchAll(/\]\(([^)\s]+)\)/g)) {
      if (/^[a-z]+:/.test(link!)) continue;
      const [path, anchor] = link!.split("#") as [string, string?];
      const target = path === "" ? join(ROOT, file) : resolve(ROOT, dirname(file), path);
      if (!existsSync(target)) wrong.push(`${file}: ${link}`);
      else if (anchor !== undefined && !headings(read(target)).includes(anchor))
        wrong.push(`${file}: ${link}`);
    }
  expect(wrong).toEqual([]);
});

/** Anchors of a page's headings, as GitHub makes them. */
function headings(text: string): string[] {
  return [...text.matchAll(/^#+ (.+)$/gm)].map(([, title]) =>
    title!
      .toLowerCase()
      .replace(/[^\w\- ]/g, "")
      .trim()
      .replace(/ /g, "-"),
  );
}

test("the index has every page", () => {
  const index = pages.get("README")!;
  expect([...pages.keys()].filter((name) => name !== "README" && !index.includes(`(${name}.md)`))).toEqual(
    [],
  );
});

describe("types", () => {
  const sources = [...pages].flatMap(([page, text]) =>
    [...text.matchAll(/```ts\n(.*?)```/gs)].map(([, code], i) => ({ name: `${page}-${i + 1}`, code: code! })),
  );
  const virtual = new Map(
    sources.map(({ name, code }) => [join(ROOT, "test", `docs-example-${name}.ts`), code]),
  );
  const entry = join(ROOT, "src/index.ts");
  /** Where a type of options is exported from. */
  const parts = ["demo", "evaluate", "remote", "train", "hub", "generate", "models", "quantize"].map((part) =>
    join(ROOT, "src", part, "index.ts"),
  );
  let types: ts.Program;

  beforeAll(() => {
    const { config } = ts.readConfigFile(join(ROOT, "tsconfig.json"), ts.sys.readFile);
    const { options } = ts.convertCompilerOptionsFromJson(
      { ...config.compilerOptions, noUnusedLocals: false, typeRoots: [join(ROOT, "node_modules/@types")] },
      ROOT,
    );
    const host = ts.createCompilerHost(options);
    const { fileExists, readFile, getSourceFile } = host;
    host.fileExists = (file) => virtual.has(file) || fileExists(file);
    host.readFile = (file) => virtual.get(file) ?? readFile(file);
    host.getSourceFile = (file, ...rest) =>
      virtual.has(file)
        ? ts.createSourceFile(file, virtual.get(file)!, ts.ScriptTarget.ES2023)
        : getSourceFile(file, ...rest);
    host.resolveModuleNameLiterals = (literals, from, redirected, given) =>
      literals.map(({ text }) => {
        const own = /^pith(?:\/(\w+))?$/.exec(text);
        if (!own)
          return ts.resolveModuleName(text, from, given, host, undefined, redirected, ts.ModuleKind.ESNext);
        const file = own[1] ? join(ROOT, "src", own[1], "index.ts") : entry;
        return { resolvedModule: { resolvedFileName: file, extension: ts.Extension.Ts } };
      });
    types = ts.createProgram([entry, ...parts, ...virtual.keys()], options, host);
  }, 60_000);

  test.each(sources.map(({ name }) => name))("example %s fits the library's types", (name) => {
    const file = types.getSourceFile(join(ROOT, "test", `docs-example-${name}.ts`))!;
    const found = [...types.getSyntacticDiagnostics(file), ...types.getSemanticDiagnostics(file)];
    expect(found.map(({ messageText }) => ts.flattenDiagnosticMessageText(messageText, "\n"))).toEqual([]);
  });

  /** Names of a type's properties. */
  function propertiesOf(name: string): string[] | undefined {
    const checker = types.getTypeChecker();
    for (const file of [entry, ...parts]) {
      const module = checker.getSymbolAtLocation(types.getSourceFile(file)!)!;
      const found = checker.getExportsOfModule(module).find((symbol) => symbol.name === name);
      if (!found) continue;
      const symbol = found.flags & ts.SymbolFlags.Alias ? checker.getAliasedSymbol(found) : found;
      return checker.getPropertiesOfType(checker.getDeclaredTypeOfSymbol(symbol)).map((one) => one.name);
    }
    return undefined;
  }

  // A table whose header names a type has its properties in that column, all of them; `...Type` stands for those of Type.
  test("tables of options have the options that there are", () => {
    const wrong: string[] = [];
    let tables = 0;
    for (const [page, text] of pages)
      for (const rows of tablesOf(text)) {
        const column = rows[0]!.findIndex((cell) => /^`[A-Z]\w*`$/.test(cell));
        if (column < 0) continue;
        tables++;
        const type = rows[0]![column]!.slice(1, -1);
        const wanted = propertiesOf(type);
        if (!wanted) {
          wrong.push(`${page}: no type ${type}`);
          continue;
        }
        const written = rows
          .slice(2)
          .flatMap((row) => [...row[column]!.matchAll(/`([\w.]+)`/g)].map((m) => m[1]!));
        const named = new Set(
          written.flatMap((name) =>
            name.startsWith("...")
              ? (propertiesOf(name.slice(3)) ?? [`no type ${name}`]).filter((one) => wanted.includes(one))
              : [name],
          ),
        );
        for (const name of named) if (!wanted.includes(name)) wrong.push(`${page}: ${type} has no ${name}`);
        for (const name of wanted) if (!named.has(name)) wrong.push(`${page}: ${type} has ${name}, too`);
      }
    expect(wrong).toEqual([]);
    expect(tables).toBeGreaterThan(10);
  });
});

/** Tables as rows of cells. */
function tablesOf(text: string): string[][][] {
  return (text.match(/(?:^\|.*\|$\n?)+/gm) ?? []).map((table) =>
    table
      .trim()
      .split("\n")
      .map((line) =>
        line
          .slice(1, -1)
          .split(/(?<!\\)\|/)
          .map((cell) => cell.trim()),
      ),
  );
}

// Messages in the first column of its tables, with … for what differs; each part stands in one of the source files.
test("the messages of the page on errors are those of the sources", () => {
  const files = sourcesUnder(join(ROOT, "src")).map(read);
  const quoted = tablesOf(pages.get("errors")!)
    .flatMap((rows) => rows.slice(2))
    .flatMap(([cell]) => [...cell!.matchAll(/`([^`]+)`/g)].map((m) => m[1]!));
  expect(quoted.length).toBeGreaterThan(40);
  const missing = quoted.filter((message) => {
    const parts = message
      .split("…")
      .map((part) => part.trim())
      .filter((part) => part.length > 5);
    return parts.length === 0 || !files.some((text) => parts.every((part) => text.includes(part)));
  });
  expect(missing).toEqual([]);
});

function sourcesUnder(folder: string): string[] {
  return readdirSync(folder, { withFileTypes: true }).flatMap((entry) => {
    const path = join(folder, entry.name);
    if (entry.isDirectory()) return sourcesUnder(path);
    return entry.name.endsWith(".ts") && !entry.name.endsWith(".test.ts") ? [path] : [];
  });
}

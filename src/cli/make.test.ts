import { mkdir, mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, expect, test } from "vitest";
import { pith } from "../../test/helpers/command-line.ts";

const root = await mkdtemp(join(tmpdir(), "pith-cli-make-"));
afterAll(() => rm(root, { recursive: true, force: true }));

/** A recipe as plain data: what defineRecipe gives, without importing it. */
const recipe = (length: number, bound: number) => `
import { writeFile } from "node:fs/promises";
const own = (options, expect) => {
  const step = { verb: "run", options, expect, file: (file) => ({ step, file }) };
  return step;
};
const text = own({ run: async ({ out }) => {
  await writeFile(out + "/a.txt", "x".repeat(${length}));
  return { length: ${length} };
} }, { length: { at_most: ${bound} } });
const copy = own({ inputs: { from: text.file("a.txt") }, sources: ["recipe.mjs"], run: ({ out }) => writeFile(out + "/b.txt", "y") });
export default { name: "letters", steps: { copy, text }, outputs: { "kept.txt": copy.file("b.txt") } };
`;

async function folder(name: string, file: string, content: string): Promise<string> {
  await mkdir(join(root, name), { recursive: true });
  await writeFile(join(root, name, file), content);
  return join(root, name);
}

test("pith make tells what it would make, makes it beside the recipe, and then has nothing to do", async () => {
  const here = process.cwd();
  const path = await folder("good", "recipe.mjs", recipe(3, 4));
  const dry = await pith("make", path, "--dry-run");
  expect(dry).toEqual({
    code: 0,
    out: "text  run  is made  it was never made\ncopy  run  is made  it reads text\n",
    err: "dry run: nothing was made\n",
  });
  const made = await pith("make", path);
  expect(made.code).toBe(0);
  expect(made.err).toContain(
    "1 of 2, text: run, since it was never made\n1 of 2, text: made in 1s\n2 of 2, copy: run",
  );
  expect(made.err).toMatch(/wrote .*good\/kept\.txt\nfigures: .*good\/made\/make\.json\n$/);
  expect(made.out).toMatch(
    /^step +verb +.*\ntext {2}run {3}1s {4}0.00293 KiB +\S+made\/text {2}length 3\ncopy {2}run/,
  );
  expect(await readFile(join(path, "kept.txt"), "utf8")).toBe("y");
  const again = await pith("make", join(path, "recipe.mjs"), "--json");
  expect(again.err).toBe("1 of 2, text: unchanged\n2 of 2, copy: unchanged\n");
  expect(JSON.parse(again.out).steps.map((one: { made: boolean }) => one.made)).toEqual([false, false]);
  const forced = await pith("make", path, "text", "--force", "text");
  expect(forced.err).toContain("1 of 1, text: run, since asked for");
  expect((await pith("make", path, "copy", "--only")).err).toBe("1 of 1, copy: unchanged\n");
  expect(process.cwd()).toBe(here);
});

test("a missed figure ends it with 1, names it, and shows what was made", async () => {
  const { code, out, err } = await pith("make", await folder("bad", "recipe.mjs", recipe(5, 4)));
  expect(code).toBe(1);
  expect(out).toMatch(/\ntext {2}run .* length 5\n$/);
  expect(err).toContain("2 of 2, copy: waits, since what it reads is not as expected\n");
  expect(err).toMatch(/pith: "letters" is not as expected: text: length is 5, wanted at most 4\n$/);
});

test("what is no recipe is told so", async () => {
  const error = async (...words: string[]) => {
    const { code, err } = await pith("make", ...words);
    expect(code).toBe(1);
    return err;
  };
  const here = process.cwd();
  const empty = await folder("empty", "notes.txt", "");
  expect(await error(empty)).toMatch(
    /pith: Cannot make ".*empty": found no such file, wanted a recipe, or a folder with/,
  );
  const other = await folder("other", "recipe.mjs", "export const a = 1;");
  expect(await error(other)).toContain(
    "it has no default export, wanted: export default defineRecipe({ ... })",
  );
  const list = await folder("list", "recipe.mjs", "export default [];");
  expect(await error(list)).toContain("Cannot make a recipe: it has no steps");
  expect(await error(await folder("good", "recipe.mjs", recipe(3, 4)), "words")).toContain(
    'Cannot make the step "words" of "letters": wanted one of text, copy',
  );
  const typed = await folder("typed", "recipe.ts", "export default { name: 'a' as string, steps: {} };");
  const said = await error(typed);
  // Newer ones run it, and find it empty.
  if ((process.features as { typescript?: unknown }).typescript) expect(said).toContain("it has no steps");
  else
    expect(said).toMatch(
      /it is TypeScript, which Node 2\d\.[\d.]+ does not run; wanted Node 22\.18 or newer, or/,
    );
  expect(process.cwd()).toBe(here);
});

import { existsSync, readdirSync, readFileSync } from "node:fs";
import { fileURLToPath } from "node:url";
import { Template } from "@huggingface/jinja";
import fc from "fast-check";
import { describe, expect, test } from "vitest";
import { ChatTemplate, encodeChat } from "./chat-template.ts";
import { loadTokenizerFolder } from "./folder.ts";
import { loadTokenizerJson } from "./huggingface.ts";
import { TINY_TEMPLATE, tinyByteLevel } from "./tiny.ts";
import type { ChatInput, ChatMessage } from "./types.ts";

const render = (source: string, input: Partial<ChatInput> = {}): string =>
  new ChatTemplate(source, "t").render({ messages: [], ...input });

describe("Jinja as Python has it", () => {
  test.each([
    ["{{ [1, 'a', none, true, 1.0] }}", "[1, 'a', None, True, 1.0]"],
    ["{{ {'a': 1, 'b': [\"it's\"]} }}", "{'a': 1, 'b': [\"it's\"]}"],
    ["{{ none }}{{ undefined_name }}|", "None|"],
    ["{{ '\\n\\n x '.lstrip('\\n') }}|", " x |"],
    ["{{ 'xxaxx'.strip('x') }}{{ ' b '.rstrip() }}", "a b"],
    ["{{ 'a</think>b'.split('</think>')[-1] }}", "b"],
    ["{{ 'a  b c'.split() }}{{ 'a,b,c'.split(',', 1) }}", "['a', 'b', 'c']['a', 'b,c']"],
    ["{{ 'a,b,c'.rsplit(',', 1) }}", "['a,b', 'c']"],
    ["{{ 'abcdef'[1:4] }}{{ 'abc'[::-1] }}{{ [1,2,3][-2:] }}", "bcdcba[2, 3]"],
    ["{{ 7 // 2 }} {{ -7 // 2 }} {{ 7 / 2 }} {{ -7 % 3 }} {{ 2 ** 3 }}", "3 -4 3.5 2 8"],
    ["{{ 'a' ~ 1 ~ true }}", "a1True"],
    [
      "{% set ns = namespace(n=0) %}{% for i in range(4) %}{% set ns.n = ns.n + i %}{% endfor %}{{ ns.n }}",
      "6",
    ],
    ["{% set x = 1 %}{% for i in [1] %}{% set x = 2 %}{% endfor %}{{ x }}", "1"],
    ["{% for a, b in {'x': 1}.items() %}{{ a }}{{ b }}{% endfor %}", "x1"],
    [
      "{% for i in range(5) if i % 2 %}{{ loop.index }}:{{ i }}{{ ',' if not loop.last }}{% endfor %}",
      "1:1,2:3",
    ],
    ["{% for i in [] %}x{% else %}none{% endfor %}", "none"],
    [
      "{% for i in range(9) %}{% if i == 1 %}{% continue %}{% endif %}{% if i == 3 %}{% break %}{% endif %}{{ i }}{% endfor %}",
      "02",
    ],
    [
      "{% macro m(a, b=2) %}{{ a }}{{ b }}{{ kwargs.c }}{% endmacro %}{{ m(1) }}{{ m(1, b=3, c=4) }}",
      "12134",
    ],
    ["{% macro m() %}[{{ caller() }}]{% endmacro %}{% call m() %}x{% endcall %}", "[x]"],
    ["{% filter upper %}abc{% endfilter %}", "ABC"],
    ["{{ {'b': 1, 'a': [1, none, 'é\"']} | tojson }}", '{"b": 1, "a": [1, null, "é\\""]}'],
    ["{{ {'b': 1, 'a': {}} | tojson(indent=2, sort_keys=true) }}", '{\n  "a": {},\n  "b": 1\n}'],
    ["{{ [{'r': 1, 'n': 'x'}, {'r': 0, 'n': 'y'}] | selectattr('r') | map(attribute='n') | list }}", "['x']"],
    ["{{ [{'r': 'u'}, {'r': 'a'}] | rejectattr('r', 'equalto', 'u') | list | length }}", "1"],
    ["{{ [3, 1, 2] | sort | join('-') }}{{ {'b': 1, 'a': 2} | dictsort }}", "1-2-3[['a', 2], ['b', 1]]"],
    ["{{ missing | default('d') }}{{ '' | default('e', true) }}", "de"],
    ["{{ 'a\\nb' | indent(2) }}", "a\n  b"],
    ["{{ 'x' in 'xyz' }}{{ 'q' not in ['a'] }}{{ 'k' in {'k': 1} }}", "TrueTrueTrue"],
    ["{{ 1 if false }}{{ 'b' if 1 is defined else 'c' }}", "b"],
    ["{% generation %}x{% endgeneration %}", "x"],
    ["{{ 'abc'.startswith(('x', 'a')) }}{{ 'a-b'.replace('-', '+') }}", "Truea+b"],
    ["  {%- set x = 1 -%}  \n{{ x }}\n", "1"],
    ["{{ bos_token }}|{{ tools is none }}|{{ add_generation_prompt }}", "|True|False"],
  ])("%s", (source, wanted) => {
    expect(render(source)).toBe(wanted);
  });

  test("strftime_now", () => {
    expect(render("{{ strftime_now('%Y-%m-%d') }}")).toMatch(/^\d{4}-\d\d-\d\d$/);
    expect(render("{{ strftime_now('%d %b %Y') }}")).toMatch(/^\d\d [A-Z][a-z]{2} \d{4}$/);
  });

  test("errors name the template, what it does and what is wanted", () => {
    const error = (source: string) => () => render(source, { messages: [{ role: "user", content: "x" }] });
    expect(error("{{ raise_exception('roles must alternate') }}")).toThrow(
      'Chat template "t" refuses these messages: roles must alternate',
    );
    expect(error("{{ nothing.here }}")).toThrow('it takes "here" of something undefined');
    expect(error("{{ 1 + 'a' }}")).toThrow("it computes a number + a string");
    expect(error("{{ 'a' | nofilter }}")).toThrow(/it uses the filter nofilter, want one of abs, /);
    expect(error("{{ nothing() }}")).toThrow("it calls undefined, want a function");
    expect(() => render("{% if %}")).toThrow(SyntaxError);
    expect(() => render("{{ 1 }", {})).toThrow(/^Cannot read chat template "t": /);
    expect(() => render("x".repeat(300_000))).toThrow("it has 300000 characters, want at most 262144");
    expect(() => new ChatTemplate("x", "t").render({} as ChatInput)).toThrow("want a list of messages");
    expect(() => render("x", { tools: [() => 1] })).toThrow("tools[0] is a function, want plain data");
    expect(() => render("x", { tools: [new Map()] })).toThrow("want plain data");
  });
});

describe("nothing of the host can be reached", () => {
  const names =
    "constructor __proto__ prototype __class__ __mro__ __globals__ __init__ __builtins__ toString valueOf value " +
    "hasOwnProperty __defineGetter__ call apply bind builtins type trusted globalThis process require module eval Function";
  const things = [
    "messages",
    "messages[0]",
    "messages[0].content",
    "1",
    "true",
    "none",
    "range",
    "namespace()",
    "''.upper",
    "{}",
    "[]",
    "loop",
  ];
  const bank = names
    .split(" ")
    .flatMap((name) =>
      things.flatMap((thing) => [
        `{{ (${thing}).${name} is defined }}`,
        `{{ (${thing})['${name}'] is defined }}`,
      ]),
    );

  test(`${bank.length} ways to a property that is not there`, () => {
    for (const source of bank) {
      let out = "False";
      try {
        out = render(source, { messages: [{ role: "user", content: "x" }] });
      } catch (error) {
        expect((error as Error).message).toMatch(/^Cannot (render|read) chat template/);
      }
      expect([source, out]).toEqual([source, "False"]);
    }
  });

  test("a key named so in the data is only data", () => {
    const message = JSON.parse('{"role":"user","content":"x","constructor":"mine","__proto__":"own"}');
    const source =
      "{{ messages[0].constructor }} {{ messages[0]['__proto__'] }} {{ {'__proto__': 1} | tojson }}";
    expect(render(source, { messages: [message] })).toBe('mine own {"__proto__": 1}');
    expect(({} as { polluted?: unknown }).polluted).toBeUndefined();
  });

  test("getters and prototypes of the caller's objects are not followed", () => {
    class Trap {
      role = "user";
    }
    expect(() => render("x", { messages: [new Trap() as ChatMessage] })).toThrow("want plain data");
    const cycle: ChatMessage = { role: "user" };
    cycle.self = cycle;
    expect(() => render("x", { messages: [cycle] })).toThrow("nested more than 100 deep");
  });
});

const doubled = (name: string, times: number): string =>
  `{% set ${name} = 'aaaaaaaaaaaaaaaa' %}${`{% set ${name} = ${name} ~ ${name} %}`.repeat(times)}`;
const shared = `{% set a = [1] %}${"{% set a = [a, a] %}".repeat(50)}`;
const loop = (body: string): string => `{% for i in range(100000) %}${body}{% endfor %}`;

/** Templates made to take for ever or to fill the memory. */
const COSTLY: Record<string, string> = {
  range: "{% for i in range(1000000000) %}x{% endfor %}",
  "range, counted": "{{ range(1000000000) | length }}",
  loops:
    "{% for a in range(9999) %}{% for b in range(9999) %}{% for c in range(9999) %}x{% endfor %}{% endfor %}{% endfor %}",
  "empty loops": "{% for a in range(9999) %}{% for b in range(9999) %}{% endfor %}{% endfor %}",
  recursion: "{% macro m() %}{{ m() }}{% endmacro %}{{ m() }}",
  fan: "{% macro m(n) %}{% if n %}{{ m(n - 1) }}{{ m(n - 1) }}{% endif %}{% endmacro %}{{ m(60) }}",
  doubling: doubled("s", 40),
  printing: `${doubled("s", 18)}{{ s }}{{ s }}{{ s }}`,
  replace: `${doubled("s", 16)}{{ s | replace('a', s) }}`,
  "replace nothing": `${doubled("s", 16)}{{ s.replace('', s) }}`,
  join: `${doubled("s", 12)}{{ range(100000) | join(s) }}`,
  times: "{{ 'a' * 1000000000 }}",
  indent: "{{ 'a' | indent(1000000000) }}",
  "tojson indent": "{{ [1, [2]] | tojson(indent=1000000000) }}",
  "search at worst": `${doubled("s", 16)}{% set n = 'b' ~ s %}{{ n in (s ~ s) }}`,
  "split at worst": `${doubled("s", 16)}{% set n = 'b' ~ s %}{{ (s ~ s).split(n) }}`,
  split: `${doubled("s", 18)}{{ s.split('a') | length }}`,
  "replace often": doubled("s", 18) + loop("{% set t = s | replace('a', 'b') %}"),
  "reverse often": doubled("s", 15) + loop("{% set t = s[::-1] %}"),
  "upper often": doubled("s", 18) + loop("{% set t = s | upper %}"),
  "length often": doubled("s", 18) + loop("{% set t = s | length %}"),
  "sort often": loop("{% set t = range(99999) | sort %}"),
  "shared lists printed": `${shared}{{ a }}`,
  "shared lists as JSON": `${shared}{{ a | tojson }}`,
  "shared lists compared": `${shared}{% set b = [1] %}${"{% set b = [b, b] %}".repeat(50)}{{ a == b }}`,
  "a namespace in itself": "{% set n = namespace() %}{% set n.a = [n, n] %}{{ n }}",
  "a list in itself": "{% set a = [] %}{% set _ = a.append(a) %}{{ a | tojson }}",
  extend: "{% set a = [1] %}{% for x in range(60) %}{% set _ = a.extend(a) %}{% endfor %}",
  arguments: "{% macro m() %}{{ varargs }}{% endmacro %}{{ m(*range(999999)) }}",
  parentheses: `{{ ${"(".repeat(100_000)}1${")".repeat(100_000)} }}`,
  brackets: `{{ ${"[".repeat(100_000)}${"]".repeat(100_000)} }}`,
  nots: `{{ ${"not ".repeat(50_000)}1 }}`,
  sums: `{{ 1${"+1".repeat(100_000)} }}`,
  filters: `{{ 'a'${"|trim".repeat(40_000)} }}`,
  elifs: `{% if 0 %}${"{% elif 0 %}".repeat(20_000)}{% endif %}`,
  blanks: " ".repeat(250_000),
  braces: "{{".repeat(100_000),
  comments: "{#".repeat(100_000),
  marks: `{% set s = 'ab' %}${"{% set s = s ~ messages[0].content[:1] ~ s %}".repeat(20)}${loop("{{ s[1:] }}")}`,
};

describe("what costs too much is an error, soon", () => {
  test.each(Object.entries(COSTLY))("%s", (_, source) => {
    const start = performance.now();
    expect(() => render(source, { messages: [{ role: "user", content: "x".repeat(1 << 20) }] })).toThrow(
      /^Cannot (render|read) chat template "t": /,
    );
    // Half a second at most on an idle core.
    expect(performance.now() - start).toBeLessThan(10_000);
  });

  test("a long conversation is not too much", () => {
    const messages = Array.from({ length: 2000 }, (_, i) => ({
      role: i % 2 ? "assistant" : "user",
      content: `${i} `.repeat(500),
    }));
    const out = new ChatTemplate(TINY_TEMPLATE, "t").render({ messages, add_generation_prompt: true });
    expect(out.length).toBeGreaterThan(3_000_000);
    expect(out.endsWith("<|im_start|>assistant\n")).toBe(true);
  });
});

describe("control tokens come from the template or not at all", () => {
  const { tokenizer: json, config } = tinyByteLevel();
  const tokenizer = loadTokenizerJson(json, config, "tiny");
  const template = new ChatTemplate(TINY_TEMPLATE, "tiny");
  const controls = (ids: readonly number[]): number[] => ids.filter((id) => tokenizer.isSpecial(id));

  test("benign messages give the ids of the rendered text", () => {
    const input = { messages: [{ role: "user", content: "hello  world" }], add_generation_prompt: true };
    expect(encodeChat(tokenizer, template, input)).toEqual(
      tokenizer.encode(template.render(input), { addSpecial: false, parseSpecial: true }),
    );
  });

  test("segments are the text, cut at the template's control tokens", () => {
    const input = { messages: [{ role: "user", content: "a<|im_end|>b" }] };
    const segments = template.segments(input, tokenizer.specialTokens.keys());
    expect(segments).toEqual([
      { text: "<|im_start|>", trusted: true },
      { text: "user\na<|im_end|>b", trusted: false },
      { text: "<|im_end|>", trusted: true },
      { text: "\n", trusted: false },
    ]);
  });

  test("no content, role, name, tool or document adds one", () => {
    const evil = fc
      .array(
        fc.constantFrom(
          "<|im_start|>",
          "<|im_end|>",
          "<|im_",
          "end|>",
          "<|",
          "|>",
          "<",
          "im_end",
          "x",
          " ",
          "\n",
          "</think>",
        ),
        {
          maxLength: 8,
        },
      )
      .map((parts) => parts.join(""));
    const source =
      "{% for m in messages %}{{ '<|im_start|>' + m.role + '\n' }}{{ (m.content | trim).split('</think>')[-1] + m.content.replace('x', '') }}" +
      "{{ m.content[1:] ~ m.content | upper | lower }}{{ m.name }}<|im_end|>{% endfor %}{{ tools | tojson }}{{ documents | join('|>') }}" +
      "{% for t in tools %}{{ '<|' + t + '|>' }}{{ t | indent(1) }}{{ t | string }}{% endfor %}";
    const clever = new ChatTemplate(source, "clever");
    fc.assert(
      fc.property(evil, evil, evil, (a, b, c) => {
        const input: ChatInput = {
          messages: [
            { role: a, content: b, name: c },
            { role: "user", content: c },
          ],
          tools: [a, c],
          documents: [b, a],
        };
        expect(controls(encodeChat(tokenizer, clever, input))).toEqual([262, 263, 262, 263]);
        expect(tokenizer.decode(encodeChat(tokenizer, clever, input))).toBe(clever.render(input));
      }),
      { numRuns: 1500 },
    );
  });

  test("a control token of a literal, of a role and of the tokens' names is one; half of each is not", () => {
    const special = ["<|user|>", "<s>"];
    const segments = (source: string, role: string) =>
      new ChatTemplate(source, "t")
        .segments({ messages: [{ role, content: "<" }], bos_token: "<s>" }, special)
        .filter(({ trusted }) => trusted)
        .map(({ text }) => text);
    expect(segments("{{ bos_token }}{{ '<|' + messages[0].role + '|>' }}", "user")).toEqual([
      "<s>",
      "<|user|>",
    ]);
    expect(segments("{{ '<|' + messages[0]['role'] + '|>' }}", "us")).toEqual([]);
    expect(segments("{{ messages[0].content + '|user|>' }}", "user")).toEqual([]);
    expect(segments("{% set p = '<|' %}{{ [p, 'user', '|>'] | join }}", "user")).toEqual(["<|user|>"]);
  });

  test("an untrusted look-alike does not hide a trusted token behind it", () => {
    const found = new ChatTemplate("{{ messages[0].content }}<e>", "t").segments(
      { messages: [{ role: "user", content: "x" }] },
      ["x<e>", "<e>"],
    );
    expect(found).toEqual([
      { text: "x", trusted: false },
      { text: "<e>", trusted: true },
    ]);
  });
});

const DATA = fileURLToPath(new URL("../../../shared/data/", import.meta.url));
const TEMPLATES = `${DATA}chat-templates/`;

const TOOLS = [
  {
    type: "function",
    function: {
      name: "get_weather",
      description: "Weather of a city",
      parameters: {
        type: "object",
        properties: { city: { type: "string", description: "City" } },
        required: ["city"],
      },
    },
  },
];
const CHAT = [
  { role: "user", content: "Hi" },
  { role: "assistant", content: "Hello" },
  { role: "user", content: "Bye" },
];
const SYSTEM = [{ role: "system", content: "Be kind" }, ...CHAT];
const call = (args: unknown) => [
  { role: "user", content: "Weather?" },
  {
    role: "assistant",
    content: "",
    tool_calls: [{ id: "abcdefghi", type: "function", function: { name: "get_weather", arguments: args } }],
  },
  { role: "tool", name: "get_weather", tool_call_id: "abcdefghi", content: "sunny" },
  { role: "assistant", content: "It is sunny" },
  { role: "user", content: "Bye" },
];

describe.skipIf(!existsSync(TEMPLATES))("published templates (../shared/data is absent: skipped)", () => {
  const files = existsSync(TEMPLATES) ? readdirSync(TEMPLATES).filter((file) => file.endsWith(".jinja")) : [];
  const common = {
    bos_token: "<s>",
    eos_token: "</s>",
    add_generation_prompt: true,
    functions: "[]",
    datetime: "now",
  };

  test("there are 55", () => expect(files).toHaveLength(55));

  test.each(files)("%s renders, as the library does where it can", (file) => {
    const source = readFileSync(TEMPLATES + file, "utf8");
    const template = new ChatTemplate(source, file);
    const refusesSystem = file.startsWith("google-gemma-2");
    // This one writes arguments as they come; the others expect them parsed.
    const args = file.includes("functionary-medium-v3.2") ? '{"city": "Paris"}' : { city: "Paris" };
    for (const input of [{ messages: CHAT }, { messages: SYSTEM }, { messages: call(args), tools: TOOLS }]) {
      const whole = { ...common, ...input };
      if (refusesSystem && input.messages !== CHAT) {
        expect(() => template.render(whole)).toThrow(
          /refuses these messages: (System role|Conversation roles)/,
        );
        continue;
      }
      const out = template.render(whole);
      expect(out).toContain("Bye");
      let library: string | undefined;
      try {
        library = new Template(source).render(whole);
      } catch {
        // It misses some filters and types that these templates use.
      }
      if (library !== undefined) expect(out).toBe(library);

      // Every tag that is the template's own can be found as its own; only names from tools are not.
      const tags = out.match(/<[^<>\s]+>|\[\/?[A-Z_]+\]/g) ?? [];
      const own = template.segments(whole, new Set(tags)).filter(({ trusted }) => trusted);
      expect(tags.length - own.length).toBeLessThanOrEqual("tools" in input ? 4 : 0);
    }
  });

  test("SmolLM2, Qwen2.5 and TinyLlama: ids of benign chats are those of the text", async () => {
    for (const name of ["smollm2", "qwen2.5", "tinyllama-chat"]) {
      const tokenizer = await loadTokenizerFolder(`${DATA}tokenizers/${name}`);
      const template = new ChatTemplate(tokenizer.chatTemplate!, name);
      const input = {
        messages: SYSTEM,
        add_generation_prompt: true,
        bos_token: "",
        eos_token: tokenizer.tokenText(tokenizer.eosIds[0] ?? 2)!,
      };
      const ids = tokenizer.encode(template.render(input), { addSpecial: false, parseSpecial: true });
      expect(encodeChat(tokenizer, template, input)).toEqual(ids);
      expect(ids.filter((id) => tokenizer.isSpecial(id)).length).toBeGreaterThan(3);
      // The same number of control tokens whatever the user writes.
      const attack = [...tokenizer.specialTokens.keys()].join("");
      const attacked = { ...input, messages: [{ role: "user", content: attack }] };
      const plain = { ...input, messages: [{ role: "user", content: "x" }] };
      const count = (chat: ChatInput) =>
        encodeChat(tokenizer, template, chat).filter((id) => tokenizer.isSpecial(id)).length;
      expect(count(attacked)).toBe(count(plain));
    }
  });
});

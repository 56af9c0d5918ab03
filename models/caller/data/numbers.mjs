// Numbers, amounts, dates and times: what people say, and what a call has instead.

const same = (said) => ({ said, value: said });

const ONES =
  "zero one two three four five six seven eight nine ten eleven twelve thirteen fourteen fifteen sixteen seventeen eighteen nineteen".split(
    " ",
  );
const TENS = "_ _ twenty thirty forty fifty sixty seventy eighty ninety".split(" ");
/** Words of a whole number below a million. */
export function numberWords(n) {
  if (n < 20) return ONES[n];
  if (n < 100) return TENS[Math.floor(n / 10)] + (n % 10 ? `-${ONES[n % 10]}` : "");
  if (n < 1000) return `${ONES[Math.floor(n / 100)]} hundred${n % 100 ? ` and ${numberWords(n % 100)}` : ""}`;
  return `${numberWords(Math.floor(n / 1000))} thousand${n % 1000 ? ` ${numberWords(n % 1000)}` : ""}`;
}

function sayInt(c, n) {
  if (n < 0) return String(n);
  if (n <= 12 && c.hit(0.4)) return numberWords(n);
  if (n <= 100 && c.hit(0.12)) return numberWords(n);
  if (n >= 1000 && n % 1000 === 0 && n < 1e6 && c.hit(0.3))
    return c.hit(0.5) ? `${n / 1000}k` : `${n / 1000} thousand`;
  if (n >= 1e6 && n % 1e5 === 0 && c.hit(0.6)) return `${n / 1e6} million`;
  if (n >= 1000 && c.hit(0.4)) return n.toLocaleString("en-US");
  return String(n);
}

/** Integers; round ones more often, as people say them. */
export const int = (low, high) => ({
  schema: { type: "integer" },
  make(c) {
    let n = c.int(low, high);
    const step = 10 ** Math.max(0, Math.floor(Math.log10(Math.max(1, high))) - 1);
    if (high >= 100 && c.hit(0.5)) n = Math.min(high, Math.max(low, Math.round(n / step) * step));
    return { said: sayInt(c, n), value: n };
  },
});

export const num = (low, high, places = 2) => ({
  schema: { type: "number" },
  make(c) {
    const n = Number((low + c.next() * (high - low)).toFixed(c.int(0, places)));
    return {
      said: Number.isInteger(n) && n < 1e6 ? sayInt(c, n).replace(/^zero$/, "0") : String(n),
      value: n,
    };
  },
});

/** A number of which the sentence tells a unit, by the schema's description. */
export const quantity = (units, low, high, whole) => (c) => {
  const [unit, ...others] = units.split(",");
  const inner = (whole ?? c.hit(0.5)) ? int(Math.ceil(low), Math.ceil(high)) : num(low, high);
  return {
    schema: inner.schema,
    hint: c.hit(0.75) ? `in ${unit}` : undefined,
    make(d) {
      const { said, value } = inner.make(d);
      return { said: d.hit(0.85) ? `${said} ${d.pick([unit, ...others])}` : said, value };
    },
  };
};

export const MONTHS =
  "January February March April May June July August September October November December".split(" ");
export const DAYS = "Monday Tuesday Wednesday Thursday Friday Saturday Sunday".split(" ");
const two = (n) => String(n).padStart(2, "0");
const ordinal = (n) =>
  `${n}${n % 100 > 10 && n % 100 < 14 ? "th" : (["th", "st", "nd", "rd"][n % 10] ?? "th")}`;

export function date(c) {
  if (c.hit(0.5))
    return {
      schema: { type: "string" },
      hint: "YYYY-MM-DD",
      make(d) {
        const [y, m, day] = [d.int(2018, 2030), d.int(1, 12), d.int(1, 28)];
        const iso = `${y}-${two(m)}-${two(day)}`;
        const month = MONTHS[m - 1];
        const said = d.pick([
          iso,
          `${month} ${day}, ${y}`,
          `${ordinal(day)} ${month} ${y}`,
          `${month} ${ordinal(day)} ${y}`,
          `${day} ${month} ${y}`,
          `the ${ordinal(day)} of ${month}, ${y}`,
          `${month.slice(0, 3)} ${day} ${y}`,
          `${y}/${two(m)}/${two(day)}`,
        ]);
        return { said, value: iso };
      },
    };
  return {
    schema: { type: "string" },
    make(d) {
      const day = d.pick(DAYS);
      return same(
        d.pick([
          "today",
          "tomorrow",
          day,
          `next ${day}`,
          `${d.pick(MONTHS)} ${d.int(1, 28)}`,
          `${ordinal(d.int(1, 28))} of ${d.pick(MONTHS)}`,
          "next week",
          "this weekend",
          `${d.int(1, 28)}.${d.int(1, 12)}.`,
          "the day after tomorrow",
          "next month",
          "tonight",
          `this ${day}`,
        ]),
      );
    },
  };
}

export function time(c) {
  const clock = c.hit(0.55);
  return {
    schema: { type: "string" },
    hint: clock ? "24-hour HH:MM" : undefined,
    make(d) {
      const [h, m] = [d.int(0, 23), d.pick([0, 0, 0, 15, 30, 30, 45, d.int(1, 59)])];
      const [twelve, half] = [h % 12 || 12, h < 12 ? "am" : "pm"];
      let said = d.pick([
        `${twelve}${m ? `:${two(m)}` : ""} ${half}`,
        `${twelve}${m ? `:${two(m)}` : ""}${half}`,
        `${two(h)}:${two(m)}`,
        `${h}:${two(m)}`,
      ]);
      if (m === 0 && h === 12 && d.hit(0.7)) said = "noon";
      if (m === 0 && h === 0 && d.hit(0.7)) said = "midnight";
      if (m === 30 && d.hit(0.2))
        said = `half past ${numberWords(twelve)} ${half === "am" ? "in the morning" : "in the evening"}`;
      if (m === 15 && d.hit(0.2)) said = `quarter past ${numberWords(twelve)} ${half}`;
      if (m === 0 && h > 0 && h < 12 && d.hit(0.15)) said = `${twelve} in the morning`;
      return { said, value: clock ? `${two(h)}:${two(m)}` : said };
    },
  };
}

export function money(c) {
  const whole = c.hit(0.5);
  const [low, high] = c.pick([
    [5, 200],
    [20, 2000],
    [1000, 90000],
    [100000, 3000000],
  ]);
  const inner = whole ? int(low, high) : num(low, high);
  return {
    schema: inner.schema,
    hint: c.hit(0.4) ? c.pick(["in dollars", "in euros", "in USD"]) : undefined,
    make(d) {
      const { said, value } = inner.make(d);
      return {
        said: d
          .pick([`$${said}`, `${said} dollars`, `${said} euros`, said, `${said} bucks`, `€${said}`])
          .replace(/^([$€])(?=[a-z])/, ""),
        value,
      };
    },
  };
}

export function percent(c) {
  const decimal = c.hit(0.4);
  return {
    schema: { type: "number" },
    hint: decimal ? "as a decimal" : "in percent",
    make(d) {
      const n = d.hit(0.6) ? d.int(1, 60) : d.int(2, 240) / 4;
      return {
        said: `${n}${d.pick(["%", "%", " percent"])}`,
        value: decimal ? Number((n / 100).toFixed(6)) : n,
      };
    },
  };
}

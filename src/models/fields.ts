// Reading fields of an untrusted record: a parsed JSON object or GGUF metadata. Every value is checked for its
// kind and range; an error names the file, the field, the value found and the value wanted.

/** What {@link Fields.integer} and {@link Fields.number} accept, both ends included. */
export interface Range {
  readonly min: number;
  readonly max: number;
}

/** An untrusted record with the name of the file it came from. `null` counts as absent. */
export class Fields {
  readonly file: string;
  readonly prefix: string;
  readonly #get: (name: string) => unknown;
  readonly #own: (name: string) => string;

  /**
   * @param prefix what errors put before a field's name, e.g. `"rope_scaling."`
   * @param own what errors call a field
   */
  constructor(
    file: string,
    get: (name: string) => unknown,
    prefix = "",
    own: (name: string) => string = (name) => name,
  ) {
    this.file = file;
    this.prefix = prefix;
    this.#get = get;
    this.#own = own;
  }

  /** The value of a field, unchecked; undefined when absent or null. */
  value(name: string): unknown {
    return this.#get(name) ?? undefined;
  }

  has(name: string): boolean {
    return this.value(name) !== undefined;
  }

  /** A whole number in `range`; `fallback` when absent. @throws {RangeError | TypeError} */
  integer(name: string, range: Range, fallback?: number): number {
    const value = this.#number(name, fallback);
    if (!Number.isInteger(value) || value < range.min || value > range.max)
      this.fail(name, value, `a whole number from ${range.min} to ${range.max}`);
    return value;
  }

  /** A finite number in `range`; `fallback` when absent. @throws {RangeError | TypeError} */
  number(name: string, range: Range, fallback?: number): number {
    const value = this.#number(name, fallback);
    if (!(value >= range.min && value <= range.max))
      this.fail(name, value, `a number from ${range.min} to ${range.max}`);
    return value;
  }

  /** @throws {TypeError} */
  boolean(name: string, fallback: boolean): boolean {
    const value = this.value(name) ?? fallback;
    if (typeof value !== "boolean") this.fail(name, value, "true or false");
    return value;
  }

  /** A string; `fallback` when absent. @throws {TypeError} */
  string(name: string, fallback?: string): string {
    const value = this.value(name) ?? fallback;
    if (typeof value !== "string") this.fail(name, value, "a string");
    return value;
  }

  /** A nested object, or undefined when absent. @throws {TypeError} */
  object(name: string): Fields | undefined {
    const value = this.value(name);
    if (value === undefined) return undefined;
    if (typeof value !== "object" || Array.isArray(value)) this.fail(name, value, "an object");
    return fieldsOf(this.file, value as Record<string, unknown>, `${this.prefix}${name}.`);
  }

  /** A whole number or a list of them, as a list; `[]` when absent. @throws {RangeError | TypeError} */
  integers(name: string, range: Range, maxLength: number): number[] {
    const value = this.value(name);
    if (value === undefined) return [];
    const list: unknown[] = Array.isArray(value) ? value : [value];
    if (list.length > maxLength) this.fail(name, `${list.length} values`, `at most ${maxLength}`);
    return list.map((item, i) => {
      if (typeof item !== "number" || !Number.isInteger(item) || item < range.min || item > range.max)
        this.fail(
          Array.isArray(value) ? `${name}[${i}]` : name,
          item,
          `a whole number from ${range.min} to ${range.max}`,
        );
      return item;
    });
  }

  /**
   * The same record under other names: `names` has the record's own name of a field, where it is another. `defaults`
   * stand for what is absent.
   */
  under(names: Readonly<Record<string, string>>, defaults: Readonly<Record<string, unknown>> = {}): Fields {
    const own = (name: string) => (Object.hasOwn(names, name) ? names[name]! : name);
    const get = (name: string) => this.value(own(name)) ?? defaults[name];
    return new Fields(this.file, get, this.prefix, own);
  }

  /** Throws the error of one field. `found` is quoted as JSON and cut. */
  fail(name: string, found: unknown, wanted: string): never {
    const message = `Cannot read ${JSON.stringify(this.file)}: ${this.prefix}${this.#own(name)} is ${show(found)}, wanted ${wanted}`;
    throw typeof found === "number" ? new RangeError(message) : new TypeError(message);
  }

  #number(name: string, fallback: number | undefined): number {
    const value = this.value(name) ?? fallback;
    if (typeof value === "bigint" && Number.isSafeInteger(Number(value))) return Number(value);
    if (typeof value !== "number") this.fail(name, value, "a number");
    return value;
  }
}

/** The own fields of a JSON object. */
export function fieldsOf(file: string, record: Record<string, unknown>, prefix = ""): Fields {
  return new Fields(file, (name) => (Object.hasOwn(record, name) ? record[name] : undefined), prefix);
}

/**
 * The fields of a JSON document that must be an object.
 * @throws {SyntaxError} when it is no JSON. @throws {TypeError} when it is no object.
 */
export function parseFields(file: string, text: string): Fields {
  let value: unknown;
  try {
    value = JSON.parse(text.charCodeAt(0) === 0xfeff ? text.slice(1) : text);
  } catch (cause) {
    throw new SyntaxError(`Cannot read ${JSON.stringify(file)}: ${(cause as Error).message}`, { cause });
  }
  if (typeof value !== "object" || value === null || Array.isArray(value))
    throw new TypeError(`Cannot read ${JSON.stringify(file)}: found ${show(value)}, wanted a JSON object`);
  return fieldsOf(file, value as Record<string, unknown>);
}

/** A value as it stands in an error: JSON, at most 60 characters of it. */
export function show(value: unknown): string {
  if (value === undefined) return "missing";
  if (typeof value === "number" || typeof value === "bigint") return String(value);
  if (Array.isArray(value)) return `a list of ${value.length}`;
  if (typeof value === "object" && value !== null) return "an object";
  const text = JSON.stringify(typeof value === "string" ? value.slice(0, 80) : value);
  return text.length > 60 ? `${text.slice(0, 57)}...` : text;
}

// Checked reading of untrusted JSON values. Every error names the file and field, the value found and wanted.

/** A short picture of a value, for messages. */
export function brief(value: unknown): string {
  if (value === undefined) return "missing";
  const text = typeof value === "bigint" ? `${value}` : (JSON.stringify(value) ?? typeof value);
  return text.length > 60 ? `${text.slice(0, 60)}...` : text;
}

export function asObject(value: unknown, where: string): Record<string, unknown> {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(`${where} is ${brief(value)}, want an object`);
  }
  return value as Record<string, unknown>;
}

export function asArray(value: unknown, where: string): readonly unknown[] {
  if (!Array.isArray(value)) throw new TypeError(`${where} is ${brief(value)}, want an array`);
  return value;
}

export function asString(value: unknown, where: string): string {
  if (typeof value !== "string") throw new TypeError(`${where} is ${brief(value)}, want a string`);
  return value;
}

export function asBoolean(value: unknown, where: string): boolean {
  if (typeof value !== "boolean") throw new TypeError(`${where} is ${brief(value)}, want true or false`);
  return value;
}

/** A whole number from 0 to below `limit`. */
export function asIndex(value: unknown, where: string, limit: number): number {
  if (typeof value !== "number" || !Number.isInteger(value) || value < 0 || value >= limit) {
    throw new RangeError(`${where} is ${brief(value)}, want a whole number from 0 to ${limit - 1}`);
  }
  return value;
}

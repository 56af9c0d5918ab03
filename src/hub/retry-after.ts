// What a server asks to wait before another try.

/** Milliseconds of a Retry-After header: seconds, or a date (RFC 9110, 10.2.3); undefined for anything else, or the past. */
export function retryAfter(header: string | null): number | undefined {
  if (!header) return undefined;
  const ms = /^\s*\d+(\.\d+)?\s*$/.test(header) ? Number(header) * 1000 : Date.parse(header) - Date.now();
  return Number.isFinite(ms) && ms > 0 ? ms : undefined;
}

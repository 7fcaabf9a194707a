/** A JSON object of which nothing is known. */
export type JsonObject = Readonly<Record<string, unknown>>;

/** The value when it is a JSON object, else undefined. */
export function asObject(value: unknown): JsonObject | undefined {
  return typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as JsonObject) : undefined;
}

/** The value when it is an array, else an empty one. */
export function asArray(value: unknown): readonly unknown[] {
  return Array.isArray(value) ? value : [];
}

/**
 * A string that Postgres can store (no NUL, no half of a surrogate pair), else undefined. An integer counts as well,
 * since some senders leave the quotes off ids.
 */
export function asString(value: unknown): string | undefined {
  if (typeof value === 'number' && Number.isSafeInteger(value)) return String(value);
  if (typeof value !== 'string') return undefined;
  const text = value.replaceAll('\u0000', '').replace(/\p{Surrogate}/gu, '\uFFFD');
  return text === '' ? undefined : text;
}

/** As {@link asString}, and undefined when there is nothing but white space. */
export function asText(value: unknown): string | undefined {
  const text = asString(value);
  return text === undefined || text.trim() === '' ? undefined : text;
}

/** A finite number, also one written as a string, else undefined. */
export function asNumber(value: unknown): number | undefined {
  if (typeof value === 'string' && value.trim() === '') return undefined;
  const number = typeof value === 'number' || typeof value === 'string' ? Number(value) : NaN;
  return Number.isFinite(number) ? number : undefined;
}

// The last second of the year 9999: beyond it the number is no time in seconds.
const MAX_UNIX_SECONDS = 253_402_300_799;

/** Meta's time: unix seconds as a string, in some data as an integer (META, inbound message types). */
export function asTime(value: unknown): Date | undefined {
  const seconds = asNumber(value);
  if (seconds === undefined || seconds < 0 || seconds > MAX_UNIX_SECONDS) return undefined;
  return new Date(Math.floor(seconds) * 1000);
}

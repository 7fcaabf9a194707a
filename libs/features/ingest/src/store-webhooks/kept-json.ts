/**
 * Levels of what a webhook brings that are kept. Meta's bodies have about ten. JSON.stringify and Postgres' own reader both
 * recurse, and give up at some thousands, with the whole body in which one item is so deep.
 */
const MAX_LEVELS = 200;
/** Stands for what was deeper. */
const CUT_OFF = '[nested too deep]';

/** The JSON of a value as it came, for a column of type json; what nests deeper than 200 levels is cut off there. */
export function keptJson(value: unknown): string {
  return JSON.stringify(isDeeper(value, MAX_LEVELS) ? cut(value, MAX_LEVELS) : value);
}

/** As {@link keptJson}, for a column of type jsonb, which refuses U+0000 and halves of surrogate pairs. */
export function keptJsonb(value: unknown): string {
  // JSON.stringify escapes these two, and of surrogates only the halves.
  return keptJson(value).replace(/\\(u0000|ud[89a-f][0-9a-f]{2}|[^])/g, (escape, code: string) =>
    code === 'u0000' ? '' : code.startsWith('ud') ? '\uFFFD' : escape,
  );
}

function isDeeper(value: unknown, levels: number): boolean {
  if (typeof value !== 'object' || value === null) return false;
  return levels === 0 || Object.values(value).some((child) => isDeeper(child, levels - 1));
}

function cut(value: unknown, levels: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (levels === 0) return CUT_OFF;
  if (Array.isArray(value)) return value.map((child) => cut(child, levels - 1));
  return Object.fromEntries(Object.entries(value).map(([key, child]) => [key, cut(child, levels - 1)]));
}

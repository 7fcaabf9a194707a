import { createHash } from 'node:crypto';

type Pending = { readonly text: string } | { readonly value: unknown };

/**
 * The sha256, in hex, of a parsed JSON value with its object keys sorted: the same for the same content, however it was
 * spaced or ordered. It walks with a list of its own instead of recursion, because a body of 3 MB can nest a million deep.
 */
export function canonicalJsonHash(root: unknown): string {
  const hash = createHash('sha256');
  const pending: Pending[] = [{ value: root }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if ('text' in next) {
      hash.update(next.text);
    } else if (Array.isArray(next.value)) {
      const items: readonly unknown[] = next.value;
      pending.push({ text: ']' });
      for (let i = items.length - 1; i >= 0; i--) pending.push({ value: items[i] }, { text: i === 0 ? '[' : ',' });
      if (items.length === 0) pending.push({ text: '[' });
    } else if (typeof next.value === 'object' && next.value !== null) {
      const fields = Object.entries(next.value).sort(([a], [b]) => (a < b ? -1 : 1));
      pending.push({ text: '}' });
      for (let i = fields.length - 1; i >= 0; i--) {
        const [key, value] = fields[i]!;
        pending.push({ value }, { text: `${i === 0 ? '{' : ','}${JSON.stringify(key)}:` });
      }
      if (fields.length === 0) pending.push({ text: '{' });
    } else {
      hash.update(JSON.stringify(next.value) ?? 'null');
    }
  }
  return hash.digest('hex');
}

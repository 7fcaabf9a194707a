import { createHash } from 'node:crypto';

// Hashing sign by sign would cost more than all the rest.
const CHUNK_LENGTH = 64 * 1024;

type Pending = { readonly text: string } | { readonly value: unknown };

/**
 * The sha256, in hex, of a parsed JSON value with its object keys sorted: the same for the same content, however it was
 * spaced or ordered. It walks with a list of its own instead of recursion, because a body of 3 MB can nest a million
 * deep.
 */
export function canonicalJsonHash(root: unknown): string {
  const hash = createHash('sha256');
  let chunk = '';
  const write = (text: string): void => {
    chunk += text;
    if (chunk.length < CHUNK_LENGTH) return;
    hash.update(chunk);
    chunk = '';
  };
  const pending: Pending[] = [{ value: root }];
  for (let next = pending.pop(); next !== undefined; next = pending.pop()) {
    if ('text' in next) {
      write(next.text);
    } else if (Array.isArray(next.value)) {
      const items: readonly unknown[] = next.value;
      pending.push({ text: ']' });
      for (let i = items.length - 1; i >= 0; i--) pending.push({ value: items[i] }, { text: i === 0 ? '[' : ',' });
      if (items.length === 0) pending.push({ text: '[' });
    } else if (typeof next.value === 'object' && next.value !== null) {
      const fields = Object.entries(next.value as Readonly<Record<string, unknown>>).sort(([a], [b]) =>
        a < b ? -1 : 1,
      );
      pending.push({ text: '}' });
      for (let i = fields.length - 1; i >= 0; i--) {
        const [key, value] = fields[i]!;
        pending.push({ value }, { text: `${i === 0 ? '{' : ','}${JSON.stringify(key)}:` });
      }
      if (fields.length === 0) pending.push({ text: '{' });
    } else {
      write(JSON.stringify(next.value) ?? 'null');
    }
  }
  return hash.update(chunk).digest('hex');
}

import { writeFileSync } from 'node:fs';
import { Client } from 'pg';

/**
 * Preloaded into a process (`node --import`), it counts the statements that go to Postgres, by the name they were given, and
 * writes the counts to the file BENCH_STATEMENTS at each SIGUSR2.
 */
const counts = new Map<string, number>();
const prototype = Client.prototype as unknown as Record<'query', (this: Client, ...args: unknown[]) => unknown>;
const { query } = prototype;

prototype.query = function (...args) {
  const [statement] = args as [string | { readonly name?: string; readonly text?: string }];
  const text = typeof statement === 'string' ? statement : (statement.name ?? statement.text ?? '');
  const name = text.trim().split('\n')[0] ?? '';
  counts.set(name, (counts.get(name) ?? 0) + 1);
  return query.apply(this, args);
};

process.on('SIGUSR2', () => {
  writeFileSync(process.env['BENCH_STATEMENTS'] ?? '', JSON.stringify(Object.fromEntries(counts)));
});

import { writeFileSync } from 'node:fs';
import { Client } from 'pg';

interface Counted {
  readonly name?: string;
  readonly text?: string;
}

/**
 * Preloaded into a process (`node --import`), it counts the statements that go to Postgres, by the name they were given, and the
 * round trips in which they go, and writes the counts to the file BENCH_STATEMENTS at each SIGUSR2.
 */
const counts = new Map<string, number>();
const prototype = Client.prototype as unknown as Record<'query', (this: Client, ...args: unknown[]) => unknown>;
const { query } = prototype;

prototype.query = function (...args) {
  const [given] = args as [string | Counted | { readonly statements: readonly Counted[] }];
  count('ROUND TRIP');
  for (const { name, text = '' } of statementsOf(given)) count(name ?? text.trim().split('\n')[0] ?? '');
  return query.apply(this, args);
};

/** Of a batch (StatementBatch of the persistence adapter), or the one. */
function statementsOf(given: string | Counted | { readonly statements: readonly Counted[] }): readonly Counted[] {
  if (typeof given === 'string') return [{ text: given }];
  return 'statements' in given ? given.statements : [given];
}

function count(name: string): void {
  counts.set(name, (counts.get(name) ?? 0) + 1);
}

process.on('SIGUSR2', () => {
  writeFileSync(process.env['BENCH_STATEMENTS'] ?? '', JSON.stringify(Object.fromEntries(counts)));
});

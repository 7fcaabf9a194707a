import { readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { GRAPH_ERRORS } from '@answerline/whatsapp';
import { describe, expect, it } from '@jest/globals';

const read = (path: string): string => readFileSync(fileURLToPath(new URL(`../${path}`, import.meta.url)), 'utf8');
const guide = read('docs/guides/whatsapp.md');
const connection = read('libs/adapters/whatsapp/src/connection-check.ts');
const health = read('libs/features/gateway/src/check-health/reason-texts.ts');

/** Meta's answers to calls that the product never makes. */
const neverCalled = new Set(['request', 'media', 'registration']);

const codes = {
  'of connecting': [...(/type ConnectionCode =([^;]*);/.exec(connection)?.[1] ?? '').matchAll(/'(\w+)'/g)].map(
    ([, code]) => code ?? '',
  ),
  'of the health check': [...health.matchAll(/^ {2}(\w+): text\(/gm)].map(([, code]) => code ?? ''),
  'of a message that failed': GRAPH_ERRORS.filter(
    ({ class: kind, reason }) => !neverCalled.has(kind) && !reason.startsWith('template'),
  ).map(({ reason }) => reason),
};

describe('docs/guides/whatsapp.md', () => {
  it.each(Object.entries(codes))('explains every code %s', (_, known) => {
    expect(known.length).toBeGreaterThan(15);
    expect(known.filter((code) => !guide.includes(`\`${code}\``))).toEqual([]);
  });
});

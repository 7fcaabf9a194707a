import { readdirSync, readFileSync } from 'node:fs';
import { mutatedWebhook, mutations, place, type ValidMessage } from '@answerline/testing';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { classifyGraphError } from './graph-errors.ts';
import { answerableText, classifyMessage } from './message-text.ts';
import { parseWebhook } from './parse-webhook.ts';
import { matchKey } from './phone-numbers.ts';
import { itemKey, type WebhookItem } from './webhook-items.ts';

const BODIES = 100_000;
/** About 25 s on two cores that do nothing else. */
const WITHIN_MS = 300_000;
/** Another one finds other bodies; a failure prints it with the smallest body that fails. */
const SEED = 20_261_123;

const folder = new URL('../fixtures/', import.meta.url);
const bodies = readdirSync(folder).map((file): unknown => JSON.parse(readFileSync(new URL(file, folder), 'utf8')));

const valid: ValidMessage = {
  phoneNumberId: '200000000000077',
  message: {
    from: '15550100777',
    id: 'wamid.VALID',
    timestamp: '1790000000',
    type: 'text',
    text: { body: 'Do you open on Sundays? ☕' },
  },
};

/** What Postgres cannot keep in a text: U+0000, and half of a surrogate pair. */
const UNSTORABLE = /\u0000|\p{Surrogate}/u;

/** Of an item all but what is kept as JSON. */
function holdTogether(item: WebhookItem, at: number): void {
  const fail = (what: string): never => {
    throw new Error(`${what}: a ${item.kind}`);
  };
  if (item.place !== at) fail(`place ${String(item.place)} instead of ${String(at)}`);
  const key = itemKey(item);
  if (key === '') fail('no key');
  const pending: unknown[] = [{ ...item, raw: null, pricing: null }, key];
  if (item.kind === 'message' || item.kind === 'echo') {
    const text = answerableText(item);
    if (classifyMessage(item) === 'answerable' && text === undefined) fail('answerable without a text');
    pending.push(text);
    if (item.kind === 'message') pending.push(matchKey(item.from.waId ?? ''));
  }
  if ('errors' in item) for (const error of item.errors) classifyGraphError({ code: error.code ?? 0 });
  while (pending.length > 0) {
    const value = pending.pop();
    if (typeof value === 'string' && UNSTORABLE.test(value)) fail('a text that cannot be stored');
    if (value instanceof Date && Number.isNaN(value.getTime())) fail('a time that is none');
    // What a flow answered stays JSON; its text is looked at above.
    if (typeof value === 'object' && value !== null && !('flowAnswers' in value && value.flowAnswers)) {
      pending.push(...(Object.values(value) as unknown[]));
    }
  }
}

describe('parseWebhook', () => {
  it(
    `takes ${BODIES.toLocaleString('en')} bodies that were broken on purpose, and finds the valid message in each (seed ${SEED})`,
    () => {
      let items = 0;
      const property = fc.property(fc.constantFrom(...bodies), mutations, place, (body, changes, at) => {
        const found = parseWebhook(JSON.parse(mutatedWebhook(body, changes, at, valid).toString()));
        found.forEach(holdTogether);
        items += found.length;
        const [own, ...others] = found.filter((item) => item.kind === 'message' && item.messageId === 'wamid.VALID');
        if (others.length > 0) throw new Error('The valid message came out twice.');
        expect(own).toMatchObject({
          phoneNumberId: valid.phoneNumberId,
          from: { waId: '15550100777', userId: undefined },
          hasOwnId: true,
          sentAt: new Date(1_790_000_000_000),
          type: 'text',
          text: 'Do you open on Sundays? ☕',
          groupId: undefined,
          raw: valid.message,
        });
      });
      fc.assert(property, { seed: SEED, numRuns: BODIES });
      // The mutations leave most of the other news in place.
      expect(items).toBeGreaterThan(1.5 * BODIES);
    },
    WITHIN_MS,
  );
});

import { readdirSync, readFileSync } from 'node:fs';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { canonicalJsonHash } from './canonical-json.ts';
import { answerableText, classifyMessage } from './message-text.ts';
import { parseWebhook } from './parse-webhook.ts';
import { itemKey, type EchoItem, type MessageItem, type WebhookItem } from './webhook-items.ts';

const folder = new URL('../fixtures/', import.meta.url);
const names = readdirSync(folder).map((file) => file.replace(/\.json$/, ''));
const fixture = (name: string): unknown => JSON.parse(readFileSync(new URL(`${name}.json`, folder), 'utf8'));
const parsed = (name: string): WebhookItem[] => parseWebhook(fixture(name));

function only<Kind extends WebhookItem['kind']>(name: string, kind: Kind): Extract<WebhookItem, { kind: Kind }> {
  const items = parsed(name);
  expect(items.map((item) => item.kind)).toEqual([kind]);
  return items[0] as Extract<WebhookItem, { kind: Kind }>;
}

const customerA = {
  waId: '15550100101',
  userId: 'US.90000000000000000001',
  parentUserId: 'US.ENT.80000000000000000001',
  username: 'customer.a',
  profileName: 'Customer A',
};
const undefinedIds = { userId: undefined, parentUserId: undefined, username: undefined, profileName: undefined };

describe('parseWebhook: a message', () => {
  it('has its ids, its time, its sender and its JSON', () => {
    const item = only('text', 'message');

    expect(item).toMatchObject({
      place: 0,
      phoneNumberId: '200000000000001',
      displayPhoneNumber: '15550100001',
      messageId: 'wamid.IN1',
      hasOwnId: true,
      sentAt: new Date(1_790_000_000_000),
      type: 'text',
      forwarded: false,
      text: 'When do you open?',
      payload: { kind: 'text', body: 'When do you open?' },
    });
    expect(item.from).toEqual(customerA);
    expect(item.raw).toMatchObject({ id: 'wamid.IN1', text: { body: 'When do you open?' } });
  });

  it.each([
    ['text-username-without-from', { waId: undefined, userId: 'US.90000000000000000002', profileName: 'Customer B' }],
    ['text-without-contacts', { waId: '15550100101', userId: 'US.90000000000000000001', profileName: undefined }],
    ['text-contact-without-profile', { waId: '15550100101', profileName: undefined, username: undefined }],
    // The lone contact gives its name, never its ids: they are somebody else's.
    [
      'text-contact-with-other-number',
      { waId: '15550100101', userId: 'US.90000000000000000001', profileName: 'Customer A' },
    ],
  ])('%s: joins the sender with the contacts block as far as it goes', (name, from) => {
    expect(only(name, 'message').from).toMatchObject(from);
  });

  it.each([
    ['text-reply-to-product', { contextMessageId: 'wamid.OUT1', forwarded: false }],
    ['text-forwarded-context-without-id', { contextMessageId: undefined, forwarded: true }],
    ['text-forwarded-often', { contextMessageId: undefined, forwarded: true }],
    ['text-in-a-group', { groupId: 'group-1' }],
    ['text-integer-timestamp', { sentAt: new Date(1_790_000_000_000) }],
    ['message-without-type', { type: 'unknown', payload: { kind: 'unknown' } }],
    ['message-of-a-new-type', { type: 'hologram', payload: { kind: 'unknown' } }],
    [
      'image-with-errors',
      { errors: [{ code: 131052, title: 'Media download error', details: 'Media download failed' }] },
    ],
    ['unknown', { errors: [{ code: 131051, title: 'Unsupported', details: 'Old place of the details' }] }],
  ])('%s', (name, expected) => {
    expect(only(name, 'message')).toMatchObject(expected);
  });

  it('without an id goes by the hash of its JSON, whatever the order of its keys', () => {
    const item = only('text-without-id', 'message');
    const reordered = Object.fromEntries(Object.entries(item.raw as object).reverse());

    expect(item.hasOwnId).toBe(false);
    expect(item.messageId).toMatch(/^[0-9a-f]{64}$/);
    expect(canonicalJsonHash(reordered)).toBe(item.messageId);
    expect(canonicalJsonHash({ ...reordered, extra: 1 })).not.toBe(item.messageId);
  });
});

describe('parseWebhook: what a message means', () => {
  it.each([
    [
      'image-with-caption',
      { kind: 'media', mediaType: 'image', mediaId: 'm1', caption: 'Is this yours?', voice: false },
    ],
    ['voice', { kind: 'media', mediaType: 'audio', mimeType: 'audio/ogg; codecs=opus', voice: true }],
    ['document', { kind: 'media', mediaType: 'document', filename: 'order.pdf', caption: undefined }],
    ['sticker', { kind: 'sticker', mediaId: 'm5', animated: true }],
    ['reaction', { kind: 'reaction', messageId: 'wamid.OUT1', emoji: '👍' }],
    ['reaction-without-emoji', { kind: 'reaction', messageId: 'wamid.OUT1', emoji: null }],
    ['reaction-with-empty-emoji', { kind: 'reaction', messageId: 'wamid.OUT1', emoji: null }],
    ['location', { kind: 'location', latitude: 52.5, longitude: 13.25, name: 'Town Hall', address: '1 Main Street' }],
    [
      'contacts',
      {
        kind: 'contacts',
        cards: [
          {
            name: 'Customer C',
            organization: 'Corner Cafe',
            phones: [{ phone: '+1 555-010-0103', waId: '15550100103' }],
          },
          { name: undefined, phones: [{ phone: '+1 555-010-0104', waId: undefined }] },
        ],
      },
    ],
    ['button-reply', { kind: 'interactive', interactiveType: 'button_reply', id: 'b1', title: 'Change order' }],
    ['list-reply', { kind: 'interactive', interactiveType: 'list_reply', id: 'l1', description: '1 kg' }],
    ['flow-reply', { kind: 'interactive', interactiveType: 'nfm_reply', flowAnswers: { pickup_day: 'Friday' } }],
    ['flow-reply-with-broken-json', { kind: 'interactive', body: 'Sent', flowAnswers: undefined }],
    ['flow-reply-without-json', { kind: 'interactive', body: undefined, flowAnswers: undefined }],
    ['template-button-without-context', { kind: 'button', text: 'Yes, please', payload: 'yes' }],
    ['order', { kind: 'order', text: 'Before noon please', lines: [{ quantity: 2, itemPrice: 3.5 }, { quantity: 1 }] }],
    [
      'system-changed-number',
      {
        kind: 'system',
        systemType: 'user_changed_number',
        newWaId: '15550100102',
        newUserId: 'US.90000000000000000003',
      },
    ],
    [
      // The name holds the same words; only the end of the sentence is Meta's.
      'system-changed-user-id',
      { systemType: 'user_changed_user_id', oldUserId: customerA.userId, newUserId: 'US.90000000000000000003' },
    ],
    ['system-identity-changed', { kind: 'system', systemType: 'customer_identity_changed', newWaId: undefined }],
    ['edit', { kind: 'edit', originalMessageId: 'wamid.IN1', text: 'When do you open on Sunday?' }],
    ['edit-of-a-caption', { kind: 'edit', originalMessageId: 'wamid.IN20', text: 'Is this still yours?' }],
    ['revoke', { kind: 'revoke', originalMessageId: 'wamid.IN1' }],
    ['unsupported-edit', { kind: 'unsupported', unsupportedType: 'edit' }],
    ['unknown', { kind: 'unknown' }],
  ])('%s', (name, payload) => {
    expect(only(name, 'message').payload).toMatchObject(payload);
  });

  it.each<[string, 'answerable' | 'media' | 'silent', string | undefined]>([
    ['text', 'answerable', 'When do you open?'],
    ['text-from-an-ad', 'answerable', 'I saw your ad'],
    ['text-in-a-group', 'silent', 'Hello all'],
    ['image-with-caption', 'answerable', 'Is this yours?'],
    ['image-with-errors', 'media', undefined],
    ['voice', 'media', undefined],
    ['document', 'media', undefined],
    ['sticker', 'silent', undefined],
    ['reaction', 'silent', undefined],
    ['location', 'answerable', 'Location: Town Hall, 1 Main Street (52.5, 13.25)'],
    ['location-of-the-phone', 'answerable', 'Location: (-12.25, 43.5)'],
    ['contacts', 'answerable', 'Shared 2 contact cards (Corner Cafe)'],
    ['button-reply', 'answerable', 'Change order'],
    ['list-reply', 'answerable', 'Rye bread (1 kg)'],
    ['flow-reply', 'answerable', 'pickup day: Friday\nextras: jam, butter'],
    ['flow-reply-with-broken-json', 'answerable', 'Sent'],
    ['flow-reply-without-json', 'silent', undefined],
    ['call-permission-reply', 'silent', undefined],
    ['template-button-without-context', 'answerable', 'Yes, please'],
    ['order', 'answerable', 'Order: 2 x bread-1 at 3.5 EUR, 1 x jam-2 at 4 EUR\nBefore noon please'],
    ['system-changed-number', 'silent', undefined],
    ['edit', 'silent', undefined],
    ['revoke', 'silent', undefined],
    ['unsupported-edit', 'silent', undefined],
    ['unknown', 'silent', undefined],
    ['message-without-type', 'silent', undefined],
    ['message-of-a-new-type', 'silent', undefined],
  ])('%s is %s', (name, expected, text) => {
    const item = only(name, 'message');

    expect(classifyMessage(item)).toBe(expected);
    expect(answerableText(item)).toBe(text);
    expect(item.text).toBe(text);
  });
});

describe('parseWebhook: statuses and other news', () => {
  it('reads a status with our own id in it', () => {
    expect(only('status-sent', 'status')).toMatchObject({
      providerMessageId: 'wamid.OUT1',
      status: 'sent',
      at: new Date(1_790_000_100_000),
      recipientId: '15550100101',
      recipientUserId: 'US.90000000000000000001',
      callbackData: 'attempt-1',
      errors: [],
      pricing: { type: 'regular', category: 'service' },
    });
    expect(only('status-delivered-to-user-id', 'status')).toMatchObject({
      recipientId: undefined,
      recipientUserId: 'US.90000000000000000002',
    });
    expect(only('status-failed', 'status').errors).toEqual([
      { code: 131047, title: 'Re-engagement message', details: 'More than 24 hours have passed.' },
    ]);
  });

  it('tells the participants of a group apart', () => {
    const keys = parsed('status-of-a-group').map(itemKey);

    expect(parsed('status-of-a-group')).toMatchObject([
      { participantId: '15550100101' },
      { participantId: 'US.90000000000000000002' },
    ]);
    expect(new Set(keys).size).toBe(2);
  });

  it('reads an echo as what the business said', () => {
    const echo = only('echo-from-the-phone', 'echo');

    expect(echo).toMatchObject({ messageId: 'wamid.ECHO1', text: 'I will call you.', to: customerA });
    expect(classifyMessage(echo)).toBe('silent');
    expect(itemKey(echo)).toBe('wamid.ECHO1');
  });

  it('reads what Meta’s own agent is asked and says, one level deeper, as what we only listen to', () => {
    const message = only('standby-message', 'message');
    expect(message).toMatchObject({
      messageId: 'wamid.STANDBY1',
      isStandby: true,
      text: 'When do you open?',
      from: { waId: '15550100101', userId: 'US.90000000000000000001' },
      phoneNumberId: '200000000000001',
    });
    const echo = only('standby-echo', 'echo');
    expect(echo).toMatchObject({
      messageId: 'wamid.STANDBY2',
      isStandby: true,
      text: 'At seven.',
      to: { waId: '15550100101' },
      contextMessageId: 'wamid.STANDBY1',
    });
    expect(echo.sentAt).toEqual(new Date(1_790_000_003_000));
    expect(classifyMessage(echo)).toBe('silent');
    expect(only('standby-status', 'status')).toMatchObject({
      providerMessageId: 'wamid.STANDBY2',
      status: 'delivered',
    });
    expect(only('echo-from-the-phone', 'echo').isStandby).toBe(false);
  });

  it('reads an echo to somebody without a number', () => {
    const body = fixture('standby-echo') as {
      entry: { changes: { value: { standby: { message_echoes: object[] } } }[] }[];
    };
    const { standby } = body.entry[0]?.changes[0]?.value ?? { standby: { message_echoes: [] } };
    const message = { recipient: 'US.90000000000000000001', type: 'text', text: { body: 'At seven.' } };
    standby.message_echoes = [{ id: 'wamid.X', timestamp: '1790000003', message }];
    expect(parseWebhook(body)).toMatchObject([
      { kind: 'echo', to: { waId: undefined, userId: 'US.90000000000000000001' } },
    ]);
  });

  it('reads that Meta’s agent gives a conversation up, or takes it', () => {
    expect(only('handover-from-agent', 'handover')).toMatchObject({
      phoneNumberId: '200000000000001',
      contact: { waId: '15550100101' },
      to: 'us',
      at: new Date(1_790_000_010_000),
    });
    const passed = (control: object) =>
      parseWebhook({
        entry: [
          {
            changes: [
              {
                field: 'messaging_handovers',
                value: { recipient: { phone_number_id: '2' }, sender: { phone_number: '1' }, control_passed: control },
              },
            ],
          },
        ],
      });
    // Meta's older sample names no roles: it is told to whom the conversation is passed.
    expect(passed({ metadata: 'x' })).toMatchObject([{ kind: 'handover', to: 'us' }]);
    expect(passed({ new_owner_role: 'ai_agent' })).toMatchObject([{ to: 'meta_agent' }]);
    expect(passed({ new_owner_app_role: 'meta_business_agent' })).toMatchObject([{ to: 'meta_agent' }]);
    const other = { field: 'messaging_handovers', value: { recipient: { phone_number_id: '2' }, app_roles: {} } };
    expect(parseWebhook({ entry: [{ changes: [other] }] })).toMatchObject([{ kind: 'other', phoneNumberId: '2' }]);
  });

  it('reads a changed user id', () => {
    expect(only('user-id-update', 'user_id_update')).toMatchObject({
      previous: 'US.90000000000000000001',
      current: 'US.90000000000000000003',
      waId: '15550100101',
    });
  });

  it.each([
    ['value-with-only-errors', 'messages', '200000000000001'],
    ['account-update', 'account_update', undefined],
    ['call-status', 'calls', '200000000000001'],
    ['field-that-is-new', 'moon_phase', '200000000000001'],
    ['status-without-id', 'messages', '200000000000001'],
  ])('%s is kept as it came', (name, field, phoneNumberId) => {
    const item = only(name, 'other');

    expect(item).toMatchObject({ field, phoneNumberId });
    expect(item.hash).toBe(canonicalJsonHash(item.raw));
    expect(itemKey(item)).toBe(item.hash);
  });

  it('keeps errors that stand beside a message', () => {
    const [message, errors] = parsed('interactive-without-body-and-value-errors');

    expect(message).toMatchObject({ kind: 'message', type: 'interactive', text: undefined });
    expect(errors).toMatchObject({ kind: 'other', raw: { value: { errors: [{ code: 131000 }] } } });
    expect(classifyMessage(message as MessageItem)).toBe('silent');
  });
});

describe('parseWebhook: a body', () => {
  it('is taken apart in its order, over all entries and changes', () => {
    const items = parsed('several-entries');

    expect(items.map((item) => [item.place, item.kind, item.phoneNumberId])).toEqual([
      [0, 'message', '200000000000001'],
      [1, 'message', '200000000000001'],
      [2, 'status', '200000000000001'],
      [3, 'other', undefined],
      [4, 'message', '200000000000002'],
      [5, 'other', '200000000000002'],
    ]);
    // The contacts block leaves out the ninth digit of the same Brazilian number; the sender's stays as it came.
    expect(items[4]).toMatchObject({ from: { ...undefinedIds, waId: '5531987654321', profileName: 'Customer D' } });
    expect(items[5]).toMatchObject({ raw: { value: { brand_new: [1] } } });
  });

  it.each(['empty-entry', 'entry-without-changes'])('%s has no items', (name) => {
    expect(parsed(name)).toEqual([]);
  });

  it('keeps what is no list, no object and no string where one should be', () => {
    const items = parsed('odd-lists');

    expect(items.map((item) => item.kind)).toEqual([
      'other',
      'other',
      'other',
      'other',
      'other',
      'other',
      'other',
      'message',
    ]);
    expect(items.at(-1)).toMatchObject({ messageId: '5', type: '7', sentAt: undefined, text: undefined });
  });

  it.each([undefined, null, 0, '', 'x', [], {}, { entry: {} }, { entry: [[]] }])('%j has no items', (body) => {
    expect(parseWebhook(body)).toEqual([]);
  });

  it('gives text that Postgres can store', () => {
    const message = { id: 'wamid.1', type: 'text', text: { body: 'a\u0000b\uD800c😀' } };

    expect(parseWebhook(bodyOf([message]))[0]).toMatchObject({ text: 'ab\uFFFDc😀' });
  });
});

const bodyOf = (messages: readonly unknown[], contacts: readonly unknown[] = []): unknown => ({
  object: 'whatsapp_business_account',
  entry: [{ changes: [{ field: 'messages', value: { metadata: { phone_number_id: '1' }, contacts, messages } }] }],
});
const numbered = (count: number, text: string): unknown =>
  bodyOf(
    Array.from({ length: count }, (_, i) => ({
      from: `1555${i}`,
      id: `wamid.${i}`,
      timestamp: '1790000000',
      type: 'text',
      text: { body: text },
    })),
    Array.from({ length: count }, (_, i) => ({ wa_id: `1555${i}`, profile: { name: `Customer ${i}` } })),
  );

describe('parseWebhook: large bodies', () => {
  it('takes 1,000 updates, each with its own contact', () => {
    const items = parseWebhook(numbered(1_000, 'x')) as MessageItem[];

    expect(items).toHaveLength(1_000);
    expect(items.at(-1)).toMatchObject({ place: 999, messageId: 'wamid.999', from: { profileName: 'Customer 999' } });
  });

  it('takes 2.9 MB, many small or one large, without growing faster than the body', () => {
    const millisecondsFor = (body: unknown): number => {
      const start = performance.now();
      parseWebhook(body);
      return performance.now() - start;
    };
    const oneLarge = bodyOf([{ id: 'wamid.1', type: 'text', text: { body: 'x'.repeat(2_900_000) } }]);
    const manySmall = numbered(24_000, 'x');
    expect(JSON.stringify(manySmall).length).toBeGreaterThan(2_900_000);

    // 24 times the body in far less than 24² times the time; the floor keeps a noisy machine from deciding.
    const small = Math.max(millisecondsFor(numbered(1_000, 'x')), 5);
    expect(millisecondsFor(manySmall)).toBeLessThan(small * 120);
    expect(parseWebhook(oneLarge)[0]).toMatchObject({ text: 'x'.repeat(2_900_000) });
  });

  it('takes JSON that is nested a million deep', () => {
    const deep: unknown = JSON.parse(`${'['.repeat(1_000_000)}${']'.repeat(1_000_000)}`);

    expect(parseWebhook({ entry: [{ changes: [{ field: 'new', value: { deep } }] }] })[0]).toMatchObject({
      kind: 'other',
      hash: expect.stringMatching(/^[0-9a-f]{64}$/) as unknown,
    });
    expect(parseWebhook(bodyOf([{ type: 'edit', edit: { message: { type: 'edit', edit: deep } } }]))).toHaveLength(1);
  });
});

describe('parseWebhook: anything at all', () => {
  const looksRight = (items: readonly WebhookItem[]): void => {
    items.forEach((item, i) => {
      expect(item.place).toBe(i);
      expect(itemKey(item)).not.toBe('');
      if (item.kind === 'message' || item.kind === 'echo') classifyMessage(item satisfies MessageItem | EchoItem);
    });
  };

  it('never throws on arbitrary JSON', () => {
    const value = fc.jsonValue({ maxDepth: 6 });
    const change = fc.record({
      field: fc.constantFrom('messages', 'smb_message_echoes', 'user_id_update', 'x'),
      value,
    });
    fc.assert(fc.property(value, (body) => looksRight(parseWebhook(body))));
    fc.assert(fc.property(fc.array(change), (changes) => looksRight(parseWebhook({ entry: [{ changes }] }))));
  });

  it('never throws on fixtures of which any part was replaced or taken out', () => {
    const mutated = fc
      .tuple(fc.constantFrom(...names), fc.nat(), fc.option(fc.jsonValue(), { nil: undefined }))
      .map(([name, seed, replacement]) => {
        const paths: [Record<string, unknown>, string][] = [];
        const body = fixture(name);
        const collect = (node: unknown): void => {
          if (typeof node !== 'object' || node === null) return;
          for (const [key, child] of Object.entries(node)) {
            paths.push([node as Record<string, unknown>, key]);
            collect(child);
          }
        };
        collect(body);
        const [owner, key] = paths[seed % paths.length]!;
        if (replacement === undefined) Reflect.deleteProperty(owner, key);
        else owner[key] = replacement;
        return body;
      });
    fc.assert(
      fc.property(mutated, (body) => looksRight(parseWebhook(body))),
      { numRuns: 2_000 },
    );
  });

  it('gives the same keys for the same body', () => {
    for (const name of names) expect(parsed(name).map(itemKey)).toEqual(parsed(name).map(itemKey));
  });
});

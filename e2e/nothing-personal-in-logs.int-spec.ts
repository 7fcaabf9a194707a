import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runningNats, runningPostgresUrl } from '@answerline/embedded-services';
import { eventually } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import pg from 'pg';
import { startStandalone } from './running-standalone.ts';

/** The whole journey, error paths included, with other tests beside it. */
const journeyTimeoutMs = 120_000;

/**
 * What goes through the product in this test. Each is unlike anything else, so that finding it means that it leaked. Those
 * with other letters look different in URLs and JSON.
 */
const planted = {
  messageText: 'Zéphyrine-quokka-7731',
  editedText: 'Édredon-wombat-4402',
  failingText: 'Nullbyte-numbat-9913',
  malformedText: 'Brøken-bilby-5508',
  unsignedText: 'Forged-bettong-3316',
  profileName: 'Ulvhild Plantée',
  username: 'ulvhild.plantee.77',
  phoneNumber: '4915550198765',
  secondPhoneNumber: '5511955501987',
  thirdPhoneNumber: '34655501773',
  userId: 'DE.49PLANTED0072741918',
  accessToken: 'EAAplantedToken0a1b2c3d4e5f',
  nextAccessToken: 'EAAplantedToken9z8y7x6w5v4u',
  appSecret: 'feedc0de0badf00dfeedc0de0badf00d',
  wrongSignature: 'badc0ffee0ddf00dbadc0ffee0ddf00dbadc0ffee0ddf00dbadc0ffee0ddf00d',
  wrongVerifyToken: 'planted-verify-token-5150',
  wrongApiKey: 'al_plantedwrongkey_0000000000000000000000000',
  unknownWebhookKey: 'Planted_unknown_webhook_key_0123456789abcde',
  graphErrorText: 'Planted error of Graph 8128',
  question: 'Plätypus-plant-question-2209',
  sourceText: 'Grünfink-plant-source-6617',
  sourceTitle: 'Title-of-plant-1193',
  workspaceName: 'Workspacé-plant-3021',
  instructions: 'Instructions-of-plant-4471',
  wrongField: 'Wrong-field-of-plant-5582',
  path: 'path-of-plant-6693',
  displayPhoneNumber: '+49 1555 0100 321',
};

describe('what goes through the product stays out of its logs, events and dead letters', () => {
  let standalone: Awaited<ReturnType<typeof startStandalone>>;
  let database: pg.Client;
  beforeAll(async () => {
    standalone = await startStandalone({ env: { LOG_LEVEL: 'trace' } });
    const url = runningPostgresUrl(join(standalone.dataDir, 'postgres'));
    database = new pg.Client({ connectionString: url });
    // It ends with the product's Postgres.
    database.on('error', () => undefined);
    await database.connect();
  }, journeyTimeoutMs);
  afterAll(async () => {
    await standalone.stop();
    await database.end().catch(() => undefined);
  }, journeyTimeoutMs);

  interface Answer {
    readonly status: number;
    readonly body: Record<string, unknown>;
    readonly text: string;
  }

  async function call(url: string, method: string, body?: object | string, key?: string): Promise<Answer> {
    const response = await fetch(url, {
      method,
      headers: {
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      ...(body !== undefined && { body: typeof body === 'string' ? body : JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, text, body: text.startsWith('{') ? (JSON.parse(text) as Answer['body']) : {} };
  }

  const sandbox = async (method: string, path: string, body?: object) => {
    const answer = await call(`${standalone.demo.sandboxUrl}/sandbox${path}`, method, body);
    expect({ path, status: answer.status < 300, text: answer.status < 300 || answer.text }).toEqual({
      path,
      status: true,
      text: true,
    });
    return answer.body;
  };

  /** Asks the database until it has rows. */
  const stored = (what: string, query: string, values: readonly unknown[] = []) =>
    eventually(
      async () => {
        const { rows } = await database.query<Record<string, unknown>>(query, [...values]);
        return rows.length > 0 && rows;
      },
      { what, timeoutMs: 30_000 },
    );

  it(
    'whatever happens to it',
    async () => {
      const { baseUrl, demo } = {
        ...standalone.demo,
        demo: standalone.demo as typeof standalone.demo & { operatorKey: string },
      };
      const phoneNumberId = '777000111222333';
      const api = (method: string, path: string, body?: object | string, key = apiKey) =>
        call(`${baseUrl}/api/v1${path}`, method, body, key);

      // A workspace of its own, made with what is planted.
      let apiKey = '';
      const workspace = await api(
        'POST',
        '/workspaces',
        { name: planted.workspaceName, plan: 'scale' },
        demo.operatorKey,
      );
      expect(workspace.status).toBe(201);
      apiKey = String(workspace.body['apiKey']);
      const bot = await api('POST', '/chatbots', {
        name: planted.workspaceName,
        instructions: planted.instructions,
        quietMs: 50,
      });
      const chatbot = String(bot.body['id']);
      const source = await api('POST', `/chatbots/${chatbot}/sources`, {
        type: 'text',
        title: planted.sourceTitle,
        text: `The ${planted.sourceText} is baked on Mondays.`,
      });
      expect(source.status).toBe(201);
      await stored('the source is indexed', `SELECT 1 FROM sources WHERE id = $1 AND state = 'ready'`, [
        source.body['id'],
      ]);
      const connected = { appId: '515000', phoneNumberId, wabaId: '616000', appSecret: planted.appSecret };
      const channel = await api('PUT', `/chatbots/${chatbot}/channels/whatsapp`, {
        ...connected,
        accessToken: planted.accessToken,
        displayPhoneNumber: planted.displayPhoneNumber,
      });
      const callbackUrl = String(channel.body['callbackUrl']);
      const verifyToken = String(channel.body['verifyToken']);
      const webhookKey = callbackUrl.split('/').at(-1) ?? '';
      const number = {
        displayPhoneNumber: planted.displayPhoneNumber,
        verifiedName: 'Planted',
        wabaId: '616000',
        appId: '515000',
        appSecret: planted.appSecret,
        callbackUrl: `${baseUrl}${new URL(callbackUrl).pathname}`,
        verifyToken,
      };
      await sandbox('PUT', `/numbers/${phoneNumberId}`, { ...number, accessToken: planted.accessToken });
      await sandbox('PUT', '/contacts/planted', {
        name: planted.profileName,
        waId: planted.phoneNumber,
        userId: planted.userId,
        username: planted.username,
      });
      expect(await sandbox('POST', `/numbers/${phoneNumberId}/verify-webhook`)).toMatchObject({ verified: true });

      const journal = async () =>
        ((await sandbox('GET', '/journal')) as { items: readonly Record<string, unknown>[] }).items;
      const repliesTo = async (to: string) =>
        (await journal()).filter(
          (entry) => entry['phoneNumberId'] === phoneNumberId && entry['kind'] === 'text' && entry['to'] === `+${to}`,
        );

      // Asked and answered out of the planted source.
      const says = (text: string, extra: object = {}) =>
        sandbox('POST', '/messages', { phoneNumberId, contactId: 'planted', text, ...extra });
      await says(`${planted.messageText}: when is the ${planted.sourceText} baked?`);
      await eventually(async () => (await repliesTo(planted.phoneNumber)).length === 1, {
        what: 'the reply is sent',
        timeoutMs: 30_000,
      });
      expect(String((await repliesTo(planted.phoneNumber))[0]?.['body'])).toContain(planted.sourceText);
      const [inbound] = await stored(
        'the message is stored',
        `SELECT provider_message_id AS id FROM messages WHERE text LIKE $1`,
        [`%${planted.messageText}%`],
      );
      await says(planted.editedText, { type: 'edit', targetMessageId: inbound?.['id'] });
      await stored('the edit is stored', `SELECT 1 FROM messages WHERE raw::text LIKE '%wombat-4402%'`);

      // Found and not found, allowed and not.
      const search = await api(
        'GET',
        `/chatbots/${chatbot}/search?q=${encodeURIComponent(`${planted.question} ${planted.sourceText}`)}`,
      );
      expect(search.text).toContain(planted.sourceText);
      const reads = await api('GET', '/conversations');
      expect(reads.text).toContain(planted.profileName);
      const refusals = [
        await api('GET', '/conversations', undefined, planted.wrongApiKey),
        await api('POST', `/chatbots/${chatbot}/sources`, `{"text": "${planted.malformedText}`),
        await api('POST', `/chatbots/${chatbot}/sources`, {
          type: planted.wrongField,
          text: '',
          [planted.wrongField]: 1,
        }),
        await api('GET', `/chatbots/${planted.path}/search?q=${planted.question}`),
        await api('GET', `/${planted.path}?q=${planted.question}`),
        await api('GET', `/chatbots/${planted.path}%ZZ`),
        await api('PUT', `/chatbots/${chatbot}/channels/whatsapp`, {
          ...connected,
          accessToken: planted.accessToken,
          appSecret: planted.wrongField,
        }),
        await call(`${baseUrl}/webhooks/whatsapp/${planted.unknownWebhookKey}`, 'POST', { text: planted.unsignedText }),
        await call(`${baseUrl}/webhooks/whatsapp/${webhookKey}%ZZ`, 'POST', { text: planted.unsignedText }),
        await call(
          `${number.callbackUrl}?hub.mode=subscribe&hub.challenge=1&hub.verify_token=${planted.wrongVerifyToken}`,
          'GET',
        ),
      ];
      expect(refusals.map(({ status }) => status)).toEqual([401, 400, 422, 404, 404, 400, 422, 404, 400, 403]);

      // Webhooks: forged, without JSON, with what Postgres does not take, with an error that quotes.
      const post = (body: string, signature: string) =>
        fetch(number.callbackUrl, { method: 'POST', headers: { 'x-hub-signature-256': `sha256=${signature}` }, body });
      const sign = (body: string) => createHmac('sha256', planted.appSecret).update(body).digest('hex');
      expect((await post(planted.unsignedText, planted.wrongSignature)).status).toBe(401);
      await stored('the forged one is noted', `SELECT 1 FROM webhook_log WHERE verdict = 'bad_signature'`);
      const noJson = `{"text": "${planted.malformedText}", "from": ${planted.phoneNumber}`;
      expect((await post(noJson, sign(noJson))).status).toBe(200);
      const value = (more: object) =>
        JSON.stringify({
          object: 'whatsapp_business_account',
          entry: [
            {
              id: '616000',
              changes: [
                {
                  field: 'messages',
                  value: {
                    messaging_product: 'whatsapp',
                    metadata: { phone_number_id: phoneNumberId, display_phone_number: planted.displayPhoneNumber },
                    ...more,
                  },
                },
              ],
            },
          ],
        });
      const now = String(Math.floor(Date.now() / 1000));
      const nullByte = value({
        contacts: [{ wa_id: planted.secondPhoneNumber, profile: { name: `${planted.profileName}\u0000` } }],
        messages: [
          {
            id: 'wamid.planted-null',
            from: planted.secondPhoneNumber,
            timestamp: now,
            type: 'text',
            text: { body: `${planted.failingText}\u0000` },
          },
          {
            id: { odd: planted.failingText },
            from: [planted.secondPhoneNumber],
            timestamp: planted.failingText,
            type: 7,
            text: planted.failingText,
          },
        ],
      });
      expect((await post(nullByte, sign(nullByte))).status).toBe(200);
      await stored('what fails is kept', `SELECT 1 FROM messages WHERE raw::text LIKE '%numbat-9913%'`);
      const [reply] = await repliesTo(planted.phoneNumber);
      const failed = value({
        statuses: [
          {
            id: reply?.['wamid'],
            status: 'failed',
            timestamp: now,
            recipient_id: planted.phoneNumber,
            errors: [
              {
                code: 131026,
                title: planted.graphErrorText,
                message: planted.graphErrorText,
                error_data: { details: planted.graphErrorText },
              },
            ],
          },
        ],
      });
      expect((await post(failed, sign(failed))).status).toBe(200);
      await stored('the failure is kept', `SELECT 1 FROM statuses WHERE status = 'failed'`);

      // Graph: away, broken, slow, refusing the recipient, refusing the token; then reconnected with another one.
      const untilSentTo = (to: string, count: number) =>
        eventually(async () => (await repliesTo(to)).length === count, {
          what: `${String(count)} replies are sent to ${to}`,
          timeoutMs: 30_000,
        });
      await stored('a recipient is refused', `SELECT 1 FROM sends WHERE phase = 'failed' AND failure IS NOT NULL`);
      const fault = (what: object) => sandbox('PUT', '/faults', { kinds: ['text'], ...what });
      await fault({ graphErrorStatus: 503, graphErrorBody: false, forNextCalls: 1 });
      await says(`${planted.messageText} once more`);
      await stored('a page instead of an answer', `SELECT 1 FROM sends WHERE phase = 'unknown'`);
      const third = { contactId: undefined, waId: planted.thirdPhoneNumber };
      await fault({ errorCode: 131000, forNextCalls: 1 });
      await says(`${planted.messageText} again`, third);
      await untilSentTo(planted.thirdPhoneNumber, 1);
      await fault({ expiredToken: true });
      await says(`${planted.messageText} at last`, third);
      await stored('the channel is held', `SELECT 1 FROM channels WHERE send_hold_code = 'token_expired'`);
      await sandbox('DELETE', '/faults');
      await sandbox('PUT', `/numbers/${phoneNumberId}`, { ...number, accessToken: planted.nextAccessToken });
      await api('PUT', `/chatbots/${chatbot}/channels/whatsapp`, {
        ...connected,
        accessToken: planted.nextAccessToken,
      });
      await untilSentTo(planted.thirdPhoneNumber, 2);

      // Each was really there.
      const identities = await stored('identities', `SELECT kind, value FROM contact_identities`);
      const people = [planted.phoneNumber, planted.userId, planted.secondPhoneNumber, planted.thirdPhoneNumber];
      for (const kept of people) {
        expect(identities.map((row) => row['value'])).toContain(kept);
      }
      await stored('the name', `SELECT 1 FROM contacts WHERE name = $1`, [planted.profileName]);
      const nats = await messagesOf(standalone.dataDir, ['EVENTS', 'DEAD_LETTERS'], (found) =>
        found.includes('webhook_not_json'),
      );

      // And nothing of it got out. The webhook key and its verify token, the keys and the secrets of the demo belong to it too.
      await standalone.stop();
      const secrets = { apiKey, operatorKey: demo.operatorKey, demoKey: demo.apiKey, webhookKey, verifyToken };
      const logs =
        standalone.output() +
        ['nats/nats.log', 'postgres/postgres.log']
          .map((file) => readFileSync(join(standalone.dataDir, file), 'utf8'))
          .join('');
      expect(logs).toContain('"level":"debug"');
      expect(logs).toContain('webhook_not_json');
      expect(leaks(logs, { ...planted, ...secrets })).toEqual([]);
      expect(nats).toContain('"type":"message_received"');
      expect(leaks(nats, { ...planted, ...secrets })).toEqual([]);
    },
    journeyTimeoutMs,
  );

  it.each([
    ['plain', 'a Zéphyrine-quokka-7731 b'],
    ['in other letters', 'ZÉPHYRINE-QUOKKA-7731'],
    ['in a URL', `?q=${encodeURIComponent('Zéphyrine-quokka-7731')}&x`],
    ['in JSON of ASCII', 'Z\\u00e9phyrine-quokka-7731'],
    ['in hex', Buffer.from('…Zéphyrine-quokka-7731…').toString('hex')],
    ...[0, 1, 2].map((shift) => [
      `in base64 after ${String(shift)} bytes`,
      Buffer.from(`${'x'.repeat(shift)}Zéphyrine-quokka-7731 and more`).toString('base64url'),
    ]),
  ])('which is looked for %s', (_how, text) => {
    expect(leaks(text ?? '', { messageText: planted.messageText })).toEqual(['messageText']);
    expect(leaks('nothing of it', { messageText: planted.messageText })).toEqual([]);
  });
});

/** The names of what stands in `text`, as it is or written in one of the usual other ways. */
function leaks(text: string, values: Readonly<Record<string, string>>): string[] {
  const lower = text.toLowerCase();
  return Object.entries(values)
    .filter(([, value]) => spellings(value).some((spelling) => lower.includes(spelling.toLowerCase())))
    .map(([name]) => name);
}

function spellings(value: string): string[] {
  const bytes = Buffer.from(value);
  // What stands before shifts base64 by up to two bytes; the characters at both ends hold bits of the neighbours.
  const inBase64 = [0, 1, 2].flatMap((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes]);
    const usable = (text: string) => text.slice(Math.ceil((shift * 8) / 6), Math.floor((whole.length * 8) / 6));
    return [usable(whole.toString('base64')), usable(whole.toString('base64url'))];
  });
  const escaped = JSON.stringify(value).slice(1, -1);
  const ascii = escaped.replace(/[^ -~]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const digits = value.replaceAll(/[ +]/g, '');
  return [value, digits, escaped, ascii, encodeURIComponent(value), bytes.toString('hex'), ...inBase64];
}

/** Subjects, headers and bodies of all messages of these streams, once they hold what is waited for. */
async function messagesOf(
  dataDir: string,
  streams: readonly string[],
  isThere: (found: string) => boolean,
): Promise<string> {
  const { url, token } = runningNats(join(dataDir, 'nats')) ?? {};
  if (url === undefined || token === undefined) throw new Error('No NATS runs.');
  const connection = await connect({ servers: url, token });
  try {
    const manager = await jetstreamManager(connection);
    return await eventually(
      async () => {
        let found = '';
        for (const stream of streams) {
          const { state } = await manager.streams.info(stream);
          for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
            const message = await manager.streams.getMessage(stream, { seq });
            if (message) found += `${message.subject} ${JSON.stringify([...message.header])} ${message.string()}\n`;
          }
        }
        return isThere(found) && found;
      },
      { what: 'what was waited for is in the streams', timeoutMs: 30_000 },
    );
  } finally {
    await connection.close();
  }
}

import { createHmac } from 'node:crypto';
import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { runningPostgresUrl } from '@answerline/embedded-services';
import { eventually } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { startStandalone } from './running-standalone.ts';
import { databaseAsText, filesUnder, leaks, streamsAsText } from './search-for-planted.ts';

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
  caption: 'Çaption-potoroo-6604',
  fileName: 'Fîlename-dunnart-8815.pdf',
  humanText: 'Hümanreply-kowari-7726',
  handBackNote: 'Nöte-phascogale-2237',
  handoffText: 'Wörd-of-bandicoot-5148',
  profileName: 'Ulvhild Plantée',
  username: 'ulvhild.plantee.77',
  phoneNumber: '4915550198765',
  secondPhoneNumber: '5511955501987',
  thirdPhoneNumber: '34655501773',
  userId: 'DE.49PLANTED0072741918',
  accessToken: 'EAAplantedToken0a1b2c3d4e5f',
  nextAccessToken: 'EAAplantedToken9z8y7x6w5v4u',
  refusedAccessToken: 'EAAplantedTokenRefused5k4j3h',
  appSecret: 'feedc0de0badf00dfeedc0de0badf00d',
  wrongAppSecret: 'dec0dedbadc0ffeedec0dedbadc0ffee',
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
  wrongValue: 'Wrong-value-of-plant-2749',
  path: 'path-of-plant-6693',
  displayPhoneNumber: '+49 1555 0100 321',
};

/** What only those who are meant to have it may ever have: it must not be in the database or in a file either. */
const SECRETS = [
  'accessToken',
  'nextAccessToken',
  'refusedAccessToken',
  'appSecret',
  'wrongAppSecret',
  'wrongVerifyToken',
  'wrongApiKey',
  'unknownWebhookKey',
] as const;

/** What Meta's side has seen of it: written by a contact, or sent to one. */
const SEEN_AT_META = [
  'messageText',
  'editedText',
  'caption',
  'fileName',
  'handoffText',
  'humanText',
  'profileName',
  'username',
  'phoneNumber',
  'thirdPhoneNumber',
  'userId',
  'sourceText',
] as const;

const byPlaceIn = (order: readonly string[]) => (a: string, b: string) => order.indexOf(a) - order.indexOf(b);
const only = (values: Readonly<Record<string, string>>, names: readonly string[]): Record<string, string> =>
  Object.fromEntries(Object.entries(values).filter(([name]) => names.includes(name)));

describe('what goes through the product stays out of its logs, events, dead letters, errors and mail headers', () => {
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
        notifyEmails: ['owner@example.com'],
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
      const number = {
        displayPhoneNumber: planted.displayPhoneNumber,
        verifiedName: 'Planted',
        wabaId: '616000',
        appId: '515000',
        appSecret: planted.appSecret,
      };
      await sandbox('PUT', `/numbers/${phoneNumberId}`, { ...number, accessToken: planted.accessToken });
      const connect = (more: object) => api('PUT', `/chatbots/${chatbot}/channels/whatsapp`, { ...connected, ...more });
      const channel = await connect({ accessToken: planted.accessToken });
      expect({ status: channel.status, text: channel.status === 200 || channel.text }).toEqual({
        status: 200,
        text: true,
      });
      const callbackUrl = String(channel.body['callbackUrl']);
      const verifyToken = String(channel.body['verifyToken']);
      const webhookKey = callbackUrl.split('/').at(-1) ?? '';
      const webhookUrl = `${baseUrl}${new URL(callbackUrl).pathname}`;
      await sandbox('PUT', '/contacts/planted', {
        name: planted.profileName,
        waId: planted.phoneNumber,
        userId: planted.userId,
        username: planted.username,
      });
      type Items = { items: readonly Record<string, unknown>[] };
      const journal = async () => ((await sandbox('GET', '/journal')) as Items).items;
      const mails = async () => ((await sandbox('GET', '/mails')) as Items).items;
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
          type: planted.wrongValue,
          text: '',
          [planted.wrongField]: 1,
        }),
        await api('GET', `/chatbots/${planted.path}/search?q=${planted.question}`),
        await api('GET', `/${planted.path}?q=${planted.question}`),
        await api('GET', `/chatbots/${planted.path}%ZZ`),
        await connect({ accessToken: planted.accessToken, appSecret: planted.wrongValue }),
        await connect({ accessToken: planted.accessToken, appSecret: planted.wrongAppSecret }),
        await connect({ accessToken: planted.refusedAccessToken }),
        await call(`${baseUrl}/webhooks/whatsapp/${planted.unknownWebhookKey}`, 'POST', { text: planted.unsignedText }),
        await call(`${baseUrl}/webhooks/whatsapp/${webhookKey}%ZZ`, 'POST', { text: planted.unsignedText }),
        await call(
          `${webhookUrl}?hub.mode=subscribe&hub.challenge=1&hub.verify_token=${planted.wrongVerifyToken}`,
          'GET',
        ),
      ];
      expect(refusals.map(({ status }) => status)).toEqual([
        401, 400, 422, 404, 404, 400, 422, 422, 422, 404, 400, 403,
      ]);

      // Webhooks: forged, without JSON, with what Postgres does not take, with an error that quotes.
      const post = (body: string, signature: string) =>
        fetch(webhookUrl, { method: 'POST', headers: { 'x-hub-signature-256': `sha256=${signature}` }, body });
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

      // A file with a caption, a call for a human with its mail, what the human says, and the AI's turn again.
      await says(planted.caption, {
        type: 'document',
        content: {
          id: '900100200',
          mime_type: 'application/pdf',
          filename: planted.fileName,
          caption: `${planted.caption}: when is the ${planted.sourceText} baked?`,
        },
      });
      await eventually(async () => (await repliesTo(planted.phoneNumber)).length === 2, {
        what: 'the caption is answered',
        timeoutMs: 30_000,
      });
      await says(`${planted.handoffText}, talk to a human`);
      await eventually(async () => (await mails()).length > 0, { what: 'the owner is told', timeoutMs: 30_000 });
      const [mine] = await stored(
        'the conversation',
        `SELECT c.id, c.contact_id FROM conversations c JOIN contacts p ON p.id = c.contact_id WHERE p.name = $1 AND c.owner = 'human'`,
        [planted.profileName],
      );
      const conversation = `/conversations/${String(mine?.['id'])}`;
      const said = await api('POST', `${conversation}/messages`, { text: planted.humanText });
      expect(said.status).toBeLessThan(300);
      await eventually(async () => (await repliesTo(planted.phoneNumber)).length === 4, {
        what: 'the confirmation and the human’s words are sent',
        timeoutMs: 30_000,
      });
      const handedBack = await api('POST', `${conversation}/handoff`, {
        action: 'hand_back',
        note: planted.handBackNote,
      });
      expect(handedBack.status).toBeLessThan(300);
      const refusedOfConversation = [
        await api('POST', `${conversation}/messages`, { text: planted.humanText, [planted.wrongField]: 1 }),
        await api('POST', `${conversation}/messages`, { text: `${planted.humanText} `.repeat(1_000) }),
        await api('POST', `${conversation}/messages`, `{"text": "${planted.humanText}`),
        await api('POST', `${conversation}/handoff`, { action: planted.wrongValue, note: planted.handBackNote }),
        await api('PATCH', `/chatbots/${chatbot}`, { notifyEmails: [planted.wrongValue], texts: planted.wrongValue }),
      ];
      expect(refusedOfConversation.map(({ status }) => status)).toEqual([422, 422, 400, 422, 422]);
      refusals.push(...refusedOfConversation);

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
      expect((await connect({ accessToken: planted.nextAccessToken })).status).toBe(200);
      await untilSentTo(planted.thirdPhoneNumber, 2);

      // Each was really there: Meta's side has seen it, or the database has it.
      const files = filesUnder(standalone.dataDir);
      const ofTheSandbox = files.filter(({ path }) => path.startsWith('sandbox-'));
      const seen = ofTheSandbox.map(({ text }) => Buffer.from(text, 'latin1').toString()).join('\n');
      expect(leaks(seen, only(planted, SEEN_AT_META))).toEqual([...SEEN_AT_META].sort(byPlaceIn(Object.keys(planted))));
      const identities = await stored('identities', `SELECT kind, value FROM contact_identities`);
      expect(identities.map((row) => row['value'])).toContain(planted.secondPhoneNumber);
      await stored('the name', `SELECT 1 FROM contacts WHERE name = $1`, [planted.profileName]);
      const sentMails = await mails();
      expect(leaks(JSON.stringify(sentMails), only(planted, ['editedText', 'handoffText']))).toHaveLength(2);

      // Secrets of the workspace and of the installation belong to what must not get out.
      const secrets = { apiKey, webhookKey, verifyToken };
      const ofTheInstallation = { operatorKey: demo.operatorKey, demoKey: demo.apiKey };
      const all = { ...planted, ...secrets, ...ofTheInstallation };
      const nats = await streamsAsText(standalone.dataDir, ['EVENTS', 'DEAD_LETTERS'], (found) =>
        found.includes('webhook_not_json'),
      );
      expect(nats).toContain('"type":"message_received"');
      expect(nats).toContain('"type":"handoff_requested"');
      expect(leaks(nats, all)).toEqual([]);

      // Who sends a field that there is none of reads its name, as it is what they have to change; never a value.
      const { wrongField: _field, ...notInAnswers } = all;
      expect(leaks(refusals.map(({ text }) => text).join('\n'), notInAnswers)).toEqual([]);

      const headers = sentMails.map(({ subject, headers: own, from, to }) =>
        JSON.stringify({ subject, own, from, to }),
      );
      // The owner may call the workspace what they like, and reads it in the subject.
      const { workspaceName: _name, ...notInHeaders } = all;
      expect(leaks(headers.join('\n'), notInHeaders)).toEqual([]);

      // Nobody who gets hold of a dump or of the disk has the secrets: neither as they were sent nor written otherwise.
      const hidden = { ...only(planted, SECRETS), ...secrets };
      const dump = await databaseAsText(database);
      expect(leaks(dump, only(planted, ['messageText', 'profileName', 'fileName']))).toHaveLength(3);
      expect(leaks(dump, { ...hidden, ...ofTheInstallation })).toEqual([]);
      const webhooks = await streamsAsText(standalone.dataDir, ['WEBHOOKS'], (found) => found !== '');
      expect(leaks(webhooks, hidden)).toEqual([]);

      expect((await api('DELETE', `/channels/${String(channel.body['id'])}`)).status).toBe(200);
      await standalone.stop();
      const logs =
        standalone.output() +
        ['nats/nats.log', 'postgres/postgres.log']
          .map((file) => readFileSync(join(standalone.dataDir, file), 'utf8'))
          .join('');
      expect(logs).toContain('"level":"debug"');
      expect(logs).toContain('webhook_not_json');
      expect(leaks(logs, all)).toEqual([]);

      const left = filesUnder(standalone.dataDir).filter(({ path }) => !path.startsWith('sandbox-'));
      // Postgres keeps what is no secret as it is, so this is how it would be found.
      expect(leaks(left.map(({ text }) => text).join('\n'), only(planted, ['phoneNumber']))).toEqual(['phoneNumber']);
      // These two hold the keys of whoever tries it out, and of nobody else.
      const keyRings = new Set(['demo.json', 'secrets.json']);
      const withSecrets = left.flatMap(({ path, text }) =>
        leaks(text, keyRings.has(path) ? hidden : { ...hidden, ...ofTheInstallation }).map(
          (name) => `${name} in ${path}`,
        ),
      );
      expect(withSecrets).toEqual([]);
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

import { createHmac } from 'node:crypto';
import { join } from 'node:path';
import { runningPostgresUrl } from '@answerline/embedded-services';
import { eventually } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import pg from 'pg';
import { startStandalone } from './running-standalone.ts';

// What docs/seed-coverage.md promises, seen from outside only: what Meta's side was asked and got (the sandbox's journal and
// inbound messages), what arrived in the mailbox, what our API answers. Postgres is only used to make time pass.

/** On a machine that runs other tests too. */
const WITHIN_MS = 120_000;
const SOON_MS = 30_000;
const HOURS = 'We open at seven on working days.';

interface Answer {
  readonly status: number;
  readonly body: Record<string, unknown>;
}
type Items = { items: Record<string, unknown>[] };

describe('the promises about WhatsApp, at the wire', () => {
  let standalone: Awaited<ReturnType<typeof startStandalone>>;
  let database: pg.Client;
  beforeAll(async () => {
    standalone = await startStandalone();
    database = new pg.Client({ connectionString: runningPostgresUrl(join(standalone.dataDir, 'postgres')) });
    // It ends with the product's Postgres.
    database.on('error', () => undefined);
    await database.connect();
  }, WITHIN_MS);
  afterAll(async () => {
    await standalone.stop();
    await database.end().catch(() => undefined);
  }, WITHIN_MS);

  async function call(url: string, method: string, body?: object, key?: string): Promise<Answer> {
    const response = await fetch(url, {
      method,
      headers: {
        ...(body && { 'content-type': 'application/json' }),
        ...(key !== undefined && { authorization: `Bearer ${key}` }),
      },
      ...(body && { body: JSON.stringify(body) }),
    });
    const text = await response.text();
    return { status: response.status, body: (text.startsWith('{') ? JSON.parse(text) : {}) as Answer['body'] };
  }

  async function sandbox<T = Items>(method: string, path: string, body?: object): Promise<T> {
    const answer = await call(`${standalone.demo.sandboxUrl}/sandbox${path}`, method, body);
    if (answer.status >= 300)
      throw new Error(`${method} ${path} answered ${answer.status}: ${JSON.stringify(answer.body)}`);
    return answer.body as T;
  }

  /** A workspace with a chatbot that knows when it opens. */
  interface Shop {
    readonly workspaceId: string;
    readonly chatbotId: string;
    api(method: string, path: string, body?: object): Promise<Answer>;
    /** As `api`, and has to succeed. */
    must(method: string, path: string, body?: object): Promise<Record<string, unknown>>;
  }

  async function openShop(plan = 'scale'): Promise<Shop> {
    const { baseUrl, operatorKey } = standalone.demo;
    const made = await call(`${baseUrl}/api/v1/workspaces`, 'POST', { name: 'Bakery', plan }, operatorKey);
    const key = String(made.body['apiKey']);
    const api: Shop['api'] = (method, path, body) => call(`${baseUrl}/api/v1${path}`, method, body, key);
    const must: Shop['must'] = async (method, path, body) => {
      const answer = await api(method, path, body);
      if (answer.status >= 300) throw new Error(`${method} ${path}: ${answer.status} ${JSON.stringify(answer.body)}`);
      return answer.body;
    };
    const chatbot = await must('POST', '/chatbots', {
      name: 'Bakery',
      quietMs: 50,
      notifyEmails: [`owner-${String((people += 1))}@example.com`],
    });
    const chatbotId = String(chatbot['id']);
    const source = await must('POST', `/chatbots/${chatbotId}/sources`, { type: 'text', title: 'Hours', text: HOURS });
    await eventually(async () => (await must('GET', `/sources/${String(source['id'])}`))['state'] === 'ready', {
      what: 'the source is indexed',
      timeoutMs: SOON_MS,
    });
    return { workspaceId: String((made.body['workspace'] as { id: string }).id), chatbotId, api, must };
  }

  let people = 0;
  const aPhone = (): string => String(49_155_501_000_000 + (people += 1));
  let numbers = 0;

  /** A business number at Meta, with an app of its own unless it is given. */
  async function aNumber(more: Record<string, unknown> = {}) {
    numbers += 1;
    const number = {
      phoneNumberId: `70000000000${String(1000 + numbers)}`,
      displayPhoneNumber: `+1 555 010 ${String(1000 + numbers)}`,
      verifiedName: 'Bakery',
      wabaId: `80000000000${String(1000 + numbers)}`,
      appId: `90000000000${String(1000 + numbers)}`,
      appSecret: '0123456789abcdef0123456789abcdef',
      accessToken: `EAAseedpage${String(numbers)}`,
      ...more,
    };
    const { phoneNumberId, ...settings } = number;
    await sandbox('PUT', `/numbers/${phoneNumberId}`, settings);
    return number;
  }
  type MetaNumber = Awaited<ReturnType<typeof aNumber>>;

  const valuesOf = ({ appId, phoneNumberId, wabaId, accessToken, appSecret }: MetaNumber) => ({
    appId,
    phoneNumberId,
    wabaId,
    accessToken,
    appSecret,
  });
  const connect = (shop: Shop, number: MetaNumber, more: object = {}): Promise<Answer> =>
    shop.api('PUT', `/chatbots/${shop.chatbotId}/channels/whatsapp`, { ...valuesOf(number), ...more });
  /** A shop with a connected number. */
  async function aConnectedShop(plan?: string) {
    const [shop, number] = [await openShop(plan), await aNumber()];
    const connected = await connect(shop, number);
    expect(connected).toMatchObject({ status: 200 });
    return { shop, number, channel: connected.body };
  }

  const says = (number: MetaNumber, waId: string, text: string, more: object = {}) =>
    sandbox<{ ids?: string[] }>('POST', '/messages', { phoneNumberId: number.phoneNumberId, waId, text, ...more });
  const journal = async (number: MetaNumber): Promise<Record<string, unknown>[]> =>
    (await sandbox('GET', '/journal')).items.filter(
      (entry) => entry['phoneNumberId'] === number.phoneNumberId || entry['appId'] === number.appId,
    );
  /** The bubbles that a customer got, oldest first. */
  const repliesTo = async (number: MetaNumber, waId: string): Promise<string[]> =>
    (await journal(number))
      .filter((entry) => entry['kind'] === 'text' && entry['to'] === `+${waId}`)
      .map((entry) => String(entry['body']));
  const untilReplies = (number: MetaNumber, waId: string, count: number): Promise<string[]> =>
    eventually(
      async () => {
        const replies = await repliesTo(number, waId);
        return replies.length >= count && replies;
      },
      { what: `${String(count)} replies to a customer`, timeoutMs: SOON_MS },
    );
  /** One more question of somebody else, answered: what was to be said meanwhile has been said. */
  async function untilAnsweredNext(number: MetaNumber): Promise<void> {
    const next = aPhone();
    await says(number, next, 'When do you open?');
    await untilReplies(number, next, 1);
  }
  const mailsTo = async (shop: Shop): Promise<Record<string, unknown>[]> => {
    const { notifyEmails } = await shop.must('GET', `/chatbots/${shop.chatbotId}`);
    const [owner] = notifyEmails as string[];
    return (await sandbox('GET', '/mails')).items.filter((mail) => (mail['to'] as string[]).includes(owner ?? ''));
  };
  const used = async (shop: Shop): Promise<number> =>
    ((await shop.must('GET', '/usage'))['messages'] as { used: number }).used;
  const conversationWith = async (shop: Shop): Promise<Record<string, unknown>> => {
    const { items } = (await shop.must('GET', '/conversations')) as Items;
    const [latest] = items;
    if (!latest) throw new Error('There is no conversation.');
    return latest;
  };

  it(
    'a message to the number is answered from the knowledge base within seconds, marked as read, and counted as one',
    async () => {
      const { shop, number } = await aConnectedShop();
      const customer = aPhone();
      const startedAt = performance.now();
      await says(number, customer, 'When do you open?');
      const [reply] = await untilReplies(number, customer, 1);
      expect(performance.now() - startedAt).toBeLessThan(20_000);
      expect(reply).toContain('seven');
      const kinds = (await journal(number)).filter(({ kind }) => kind !== 'management').map(({ kind }) => kind);
      expect(kinds).toContain('text');
      expect(kinds.some((kind) => kind === 'read' || kind === 'typing')).toBe(true);
      expect(await used(shop)).toBe(1);
    },
    WITHIN_MS,
  );

  it(
    'Meta is answered at once, and so repeats nothing, while the answer is still being made',
    async () => {
      const { number } = await aConnectedShop();
      const before = await sandbox<Record<string, number>>('GET', '/deliveries');
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      await untilReplies(number, customer, 1);
      const after = await sandbox<Record<string, number>>('GET', '/deliveries');
      expect(after['retries']).toBe(before['retries']);
      expect(after['refused']).toBe(before['refused']);
    },
    WITHIN_MS,
  );

  it(
    'a message that Meta delivers again is answered once and counted once',
    async () => {
      const { shop, number } = await aConnectedShop();
      const customer = aPhone();
      const id = `wamid.again${customer}`;
      for (let i = 0; i < 3; i += 1) {
        await says(number, customer, 'When do you open?', { id, extra: { [`repeat_${String(i)}`]: i } });
      }
      await untilReplies(number, customer, 1);
      await untilAnsweredNext(number);
      expect(await repliesTo(number, customer)).toHaveLength(1);
      expect(await used(shop)).toBe(2);
    },
    WITHIN_MS,
  );

  it.each(['free', 'starter'])(
    'the plan %s has no WhatsApp: connecting asks for an upgrade, and Meta is not asked for anything',
    async (plan) => {
      const [shop, number] = [await openShop(plan), await aNumber()];
      const refused = await connect(shop, number);
      expect(refused).toMatchObject({
        status: 402,
        body: {
          code: 'plan_upgrade_required',
          currentPlan: plan,
          requiredPlans: expect.arrayContaining(['growth']) as unknown,
        },
      });
      expect(await journal(number)).toEqual([]);
    },
    WITHIN_MS,
  );

  it.each(['growth', 'scale', 'enterprise'])(
    'the plan %s has WhatsApp',
    async (plan) => {
      const { number } = await aConnectedShop(plan);
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      expect(await untilReplies(number, customer, 1)).toHaveLength(1);
    },
    WITHIN_MS,
  );

  it(
    'connecting asks Meta about all values first, with the shop’s own app, and subscribes and sets the webhook by itself',
    async () => {
      const { number, channel } = await aConnectedShop();
      const calls = (await journal(number)).filter(({ kind }) => kind === 'management');
      const paths = calls.map(({ method, path }) => `${String(method)} ${String(path).replace(/^\/v[\d.]+/, '')}`);
      expect(paths.some((path) => path.startsWith('GET /debug_token'))).toBe(true);
      expect(paths).toContain(`GET /${number.wabaId}/phone_numbers`);
      expect(paths).toContain(`POST /${number.wabaId}/subscribed_apps`);
      expect(paths).toContain(`POST /${number.appId}/subscriptions`);
      const app = await sandbox<{ subscription: object }>('GET', `/apps/${number.appId}`);
      expect(app.subscription).toMatchObject({
        callbackUrl: channel['callbackUrl'],
        active: true,
        fields: expect.arrayContaining(['messages']) as unknown,
      });
    },
    WITHIN_MS,
  );

  it(
    'a refused connection saves nothing, and the number that was connected before is still answered',
    async () => {
      const { shop, number, channel } = await aConnectedShop();
      await sandbox('PUT', '/tokens', {
        accessToken: 'EAAwithout',
        appId: number.appId,
        scopes: ['whatsapp_business_management'],
      });
      expect(await connect(shop, number, { accessToken: 'EAAwithout' })).toMatchObject({
        status: 422,
        body: { code: 'scope_messaging_missing' },
      });
      const other = await aNumber();
      await sandbox('PUT', '/tokens', { accessToken: other.accessToken, appId: other.appId, isValid: false });
      expect(await connect(shop, other)).toMatchObject({ status: 422, body: { code: 'token_invalid' } });
      const { items } = (await shop.must('GET', `/chatbots/${shop.chatbotId}/channels/whatsapp`)) as Items;
      expect(items.map(({ id }) => id)).toEqual([channel['id']]);
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      expect(await untilReplies(number, customer, 1)).toHaveLength(1);
    },
    WITHIN_MS,
  );

  it(
    'a token that expires soon is refused with the way to a permanent one',
    async () => {
      const [shop, number] = [await openShop(), await aNumber()];
      const inADay = Math.floor(Date.now() / 1000) + 86_400;
      await sandbox('PUT', '/tokens', { accessToken: number.accessToken, appId: number.appId, expiresAt: inADay });
      const refused = await connect(shop, number);
      expect(refused).toMatchObject({ status: 422, body: { code: 'token_temporary' } });
      expect(JSON.stringify(refused.body)).toMatch(/System Users.*Never/);
      expect(await connect(shop, number, { acceptExpiring: true })).toMatchObject({ status: 200 });
    },
    WITHIN_MS,
  );

  it(
    'the Callback URL and Verify Token of the answer pass Meta’s challenge, and no other token does',
    async () => {
      const [shop, number] = [await openShop(), await aNumber()];
      const { appSecret: _, ...withoutSecret } = valuesOf(number);
      const channel = await shop.must('PUT', `/chatbots/${shop.chatbotId}/channels/whatsapp`, withoutSecret);
      const again = await shop.must('GET', `/channels/${String(channel['id'])}`);
      expect(again).toMatchObject({ callbackUrl: channel['callbackUrl'], verifyToken: channel['verifyToken'] });
      const challenge = async (token: string) => {
        const url = `${String(channel['callbackUrl'])}?hub.mode=subscribe&hub.challenge=1158201444&hub.verify_token=${token}`;
        const response = await fetch(url);
        return [response.status, await response.text()];
      };
      expect(await challenge(`${String(channel['verifyToken'])}x`)).toEqual([403, '']);
      expect(await challenge(String(channel['verifyToken']))).toEqual([200, '1158201444']);
      const log = await eventually(
        async () => {
          const { items } = (await shop.must('GET', '/webhook-log')) as Items;
          return items.length > 0 && items;
        },
        { what: 'the wrong token is in the log', timeoutMs: SOON_MS },
      );
      expect(log.map(({ verdict }) => verdict)).toContain('bad_verify_token');
    },
    WITHIN_MS,
  );

  it(
    'without the field messages nothing arrives; the health check says so, and after subscribing it is answered',
    async () => {
      const { shop, number, channel } = await aConnectedShop();
      const customer = aPhone();
      const callback = { callbackUrl: channel['callbackUrl'], verifyToken: channel['verifyToken'] };
      await sandbox('PUT', `/apps/${number.appId}`, { subscription: { ...callback, fields: ['account_update'] } });
      await says(number, customer, 'Hello?');
      const health = await shop.must('POST', `/channels/${String(channel['id'])}/health-checks`);
      expect(JSON.stringify(health['checks'])).toContain('field_not_subscribed');
      expect(await repliesTo(number, customer)).toEqual([]);
      await sandbox('PUT', `/apps/${number.appId}`, { subscription: { ...callback, fields: ['messages'] } });
      await says(number, customer, 'When do you open?');
      expect(await untilReplies(number, customer, 1)).toHaveLength(1);
    },
    WITHIN_MS,
  );

  it(
    'a file that nobody can read gets one honest notice, and the text after it is answered',
    async () => {
      const { shop, number } = await aConnectedShop();
      const customer = aPhone();
      for (const type of ['image', 'audio', 'video', 'document']) {
        await sandbox('POST', '/messages', { phoneNumberId: number.phoneNumberId, waId: customer, type });
      }
      await untilReplies(number, customer, 1);
      await says(number, customer, 'When do you open?');
      const replies = await untilReplies(number, customer, 2);
      expect(replies).toHaveLength(2);
      expect(replies[1]).toContain('seven');
      expect(await used(shop)).toBe(1);
    },
    WITHIN_MS,
  );

  it(
    'two numbers of one app and one chatbot are both answered, each from its own number',
    async () => {
      const { shop, number } = await aConnectedShop();
      const { appId, wabaId, accessToken } = number;
      const second = await aNumber({ appId, wabaId, accessToken });
      expect(await connect(shop, second)).toMatchObject({ status: 200 });
      const customer = aPhone();
      for (const each of [number, second]) {
        await says(each, customer, 'When do you open?');
        await untilReplies(each, customer, 1);
      }
      await untilAnsweredNext(second);
      expect([(await repliesTo(number, customer)).length, (await repliesTo(second, customer)).length]).toEqual([1, 1]);
    },
    WITHIN_MS,
  );

  it(
    'nothing is sent but plain texts to somebody who wrote, and taps on buttons and lists are understood',
    async () => {
      const { number } = await aConnectedShop();
      const customer = aPhone();
      await sandbox('POST', '/messages', {
        phoneNumberId: number.phoneNumberId,
        waId: customer,
        type: 'interactive',
        content: { type: 'list_reply', list_reply: { id: 'hours', title: 'When do you open?' } },
      });
      expect((await untilReplies(number, customer, 1))[0]).toContain('seven');
      const sent = (await journal(number)).filter(({ kind }) => kind === 'text');
      expect(sent.map(({ to }) => to)).toEqual([`+${customer}`]);
    },
    WITHIN_MS,
  );

  it(
    'the test number answers those on its list; that another is not on it is told plainly',
    async () => {
      const [shop, number] = [await openShop(), await aNumber({ isTestNumber: true })];
      const connected = await connect(shop, number);
      expect(connected).toMatchObject({ status: 200 });
      const body = {
        object: 'whatsapp_business_account',
        entry: [
          {
            id: number.wabaId,
            changes: [
              {
                field: 'messages',
                value: {
                  messaging_product: 'whatsapp',
                  metadata: { display_phone_number: '1', phone_number_id: number.phoneNumberId },
                  messages: [
                    {
                      from: '12025550199',
                      id: `wamid.unlisted${number.phoneNumberId}`,
                      timestamp: String(Math.floor(Date.now() / 1000)),
                      type: 'text',
                      text: { body: 'When do you open?' },
                    },
                  ],
                },
              },
            ],
          },
        ],
      };
      const listed = aPhone();
      await says(number, listed, 'When do you open?');
      await untilReplies(number, listed, 1);
      // Not by way of the sandbox, which would know them then.
      const raw = JSON.stringify(body);
      const signature = createHmac('sha256', number.appSecret).update(raw).digest('hex');
      const posted = await fetch(String(connected.body['callbackUrl']), {
        method: 'POST',
        headers: { 'x-hub-signature-256': `sha256=${signature}` },
        body: raw,
      });
      expect(posted.status).toBe(200);
      const failure = await eventually(
        async () => {
          const { id } = await conversationWith(shop);
          const { items } = (await shop.must('GET', `/conversations/${String(id)}/messages`)) as Items;
          return items.find(({ status }) => status === 'failed') ?? false;
        },
        { what: 'the reply failed', timeoutMs: SOON_MS },
      );
      expect(JSON.stringify(failure['failure'])).toContain('recipient_not_in_allowed_list');
    },
    WITHIN_MS,
  );

  it(
    'a disconnected number is silent, Meta is not called any more and keeps app and number; reconnecting works',
    async () => {
      const { shop, number, channel } = await aConnectedShop();
      const before = aPhone();
      await says(number, before, 'When do you open?');
      await untilReplies(number, before, 1);
      expect((await shop.api('DELETE', `/channels/${String(channel['id'])}`)).status).toBe(200);
      const callsBefore = (await journal(number)).length;
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      await eventually(async () => (await sandbox<Record<string, number>>('GET', '/deliveries'))['pending'] === 0, {
        what: 'Meta has delivered what it had',
        timeoutMs: SOON_MS,
      });
      const { number: other } = await aConnectedShop();
      await untilAnsweredNext(other);
      expect((await journal(number)).length).toBe(callsBefore);
      expect(JSON.stringify(await shop.must('GET', `/channels/${String(channel['id'])}`))).not.toContain('EAA');
      const kept = (await sandbox('GET', '/numbers')).items.map(({ phoneNumberId }) => phoneNumberId);
      expect(kept).toContain(number.phoneNumberId);
      expect(await connect(shop, number)).toMatchObject({ status: 200 });
      await says(number, customer, 'When do you open?');
      expect(await untilReplies(number, customer, 1)).toHaveLength(1);
    },
    WITHIN_MS,
  );

  it(
    'the usage names what Meta bills, which nothing is added to',
    async () => {
      const { shop, number } = await aConnectedShop();
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      await untilReplies(number, customer, 1);
      const usage = await eventually(
        async () => {
          const read = await shop.must('GET', '/usage');
          const [own] = read['meta'] as { phoneNumberId: string; delivered: number; free: number }[];
          return own?.delivered === 1 && { ...read, own };
        },
        { what: 'the delivery is counted', timeoutMs: SOON_MS },
      );
      expect(usage.own).toMatchObject({ phoneNumberId: number.phoneNumberId, delivered: 1 });
      expect(JSON.stringify(usage)).toContain('Answerline adds nothing');
    },
    WITHIN_MS,
  );

  it(
    'over the quota a customer is told kindly once, nothing more is counted, and the owner gets a mail',
    async () => {
      const { shop, number } = await aConnectedShop('growth');
      const first = aPhone();
      await says(number, first, 'When do you open?');
      await untilReplies(number, first, 1);
      // The month's other 4,998 replies.
      await database.query('UPDATE usage SET used = 4999 WHERE workspace_id = $1', [shop.workspaceId]);
      await untilAnsweredNext(number);
      const customer = aPhone();
      await says(number, customer, 'When do you open?');
      const [told] = await untilReplies(number, customer, 1);
      expect(told).not.toContain('seven');
      expect(told).not.toMatch(/quota|plan|upgrade/i);
      await says(number, customer, 'And when do you close?');
      const next = aPhone();
      await says(number, next, 'When do you open?');
      expect((await untilReplies(number, next, 1))[0]).toBe(told);
      expect(await repliesTo(number, customer)).toHaveLength(1);
      expect(await used(shop)).toBe(5000);
      await eventually(async () => (await mailsTo(shop)).length > 0, { what: 'the owner is told', timeoutMs: SOON_MS });
    },
    WITHIN_MS,
  );

  it.each(['talk to a human', 'speak to someone', 'human please', 'speak to an agent', 'real person', 'live agent'])(
    'who writes %s is handed over: confirmation, a mail with the conversation, and then silence for them alone',
    async (phrase) => {
      const { shop, number } = await aConnectedShop();
      const [customer, other] = [aPhone(), aPhone()];
      await says(number, customer, 'When do you open?');
      await untilReplies(number, customer, 1);
      await says(number, customer, `Thanks. ${phrase.toUpperCase()}, would you?`);
      const replies = await untilReplies(number, customer, 2);
      expect(replies[1]).toMatch(/Connecting you to a human agent/);
      const [mail] = await eventually(
        async () => {
          const mails = await mailsTo(shop);
          return mails.length > 0 && mails;
        },
        { what: 'the mail', timeoutMs: SOON_MS },
      );
      expect(JSON.stringify([mail?.['text'], mail?.['attachments']])).toContain('When do you open?');
      expect(JSON.stringify([mail?.['text'], mail?.['attachments']])).toContain('seven');

      await says(number, customer, 'When do you open?');
      await says(number, other, 'When do you open?');
      expect((await untilReplies(number, other, 1))[0]).toContain('seven');
      await untilAnsweredNext(number);
      expect(await repliesTo(number, customer)).toHaveLength(2);
      expect(await mailsTo(shop)).toHaveLength(1);
    },
    WITHIN_MS,
  );

  it(
    'after 24 hours the AI answers the next message, and only that one',
    async () => {
      const { shop, number } = await aConnectedShop();
      const customer = aPhone();
      await says(number, customer, 'I want to talk to a human');
      await untilReplies(number, customer, 1);
      await says(number, customer, 'Are you there?');
      await untilAnsweredNext(number);
      const { rows } = await database.query<{ hours: number }>(
        `UPDATE conversations SET muted_until = clock_timestamp()
         WHERE workspace_id = $1 AND owner = 'human'
         RETURNING extract(epoch FROM (SELECT c.muted_until FROM conversations c WHERE c.id = conversations.id) - clock_timestamp())::float8 / 3600 AS hours`,
        [shop.workspaceId],
      );
      expect(rows).toHaveLength(1);
      expect(rows[0]?.hours).toBeCloseTo(24, 1);
      await says(number, customer, 'When do you open?');
      const replies = await untilReplies(number, customer, 2);
      expect(replies[1]).toContain('seven');
      await untilAnsweredNext(number);
      expect(await repliesTo(number, customer)).toHaveLength(2);
    },
    WITHIN_MS,
  );

  it(
    'on the plan growth a call for a human gets a notice, nobody is mailed, and the AI goes on',
    async () => {
      const { shop, number } = await aConnectedShop('growth');
      const customer = aPhone();
      await says(number, customer, 'talk to a human');
      const [notice] = await untilReplies(number, customer, 1);
      expect(notice).not.toMatch(/Connecting you/);
      await says(number, customer, 'When do you open?');
      expect((await untilReplies(number, customer, 2))[1]).toContain('seven');
      expect(await mailsTo(shop)).toEqual([]);
    },
    WITHIN_MS,
  );
});

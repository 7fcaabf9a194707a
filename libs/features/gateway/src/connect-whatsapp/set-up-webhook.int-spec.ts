import {
  type ApiAnswer,
  eventually,
  type GraphInFront,
  startGraphInFront,
  startTestGateway,
  type TestGateway,
} from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

type ConnectionBody = ReturnType<TestGateway['aConnection']>;

const FOREIGN = { callbackUrl: 'https://other.example.com/hook', verifyToken: 'theirs' };
const WANTED = [
  'messages',
  'account_update',
  'phone_number_quality_update',
  'account_alerts',
  'message_template_status_update',
  'user_id_update',
  'smb_message_echoes',
];

let api: TestGateway;
let inFront: GraphInFront;

beforeAll(async () => {
  api = await startTestGateway({
    graphUrl: async (sandboxUrl) => {
      inFront = await startGraphInFront(sandboxUrl);
      return inFront.url;
    },
  });
});
afterEach(() => {
  inFront.onCall = () => undefined;
});
afterAll(async () => {
  await api.stop();
  await inFront.close();
});

interface Tenant {
  readonly key: string;
  readonly chatbotId: string;
}
async function aTenant(): Promise<Tenant> {
  const { key } = await api.createWorkspace();
  return { key, chatbotId: await api.createChatbot(key) };
}
const connect = ({ key, chatbotId }: Tenant, body: object): Promise<ApiAnswer> =>
  api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });

interface Check {
  readonly check: string;
  readonly status: string;
  readonly code?: string;
  readonly action: string | null;
}
const checkOf = ({ body }: ApiAnswer, name: string) => (body['checks'] as Check[]).find(({ check }) => check === name);
const notOk = ({ body }: ApiAnswer) =>
  Object.fromEntries(
    (body['checks'] as Check[])
      .filter(({ status }) => status !== 'ok')
      .map(({ check, status, code }) => [check, code ?? status]),
  );

interface App {
  readonly subscription: { readonly callbackUrl: string; readonly fields: string[]; readonly active: boolean } | null;
}
const appOf = ({ appId }: ConnectionBody) => api.sandbox.control<App>('GET', `/apps/${appId}`);
const wabaOf = ({ wabaId }: ConnectionBody) =>
  api.sandbox.control<{ subscribedAppIds: string[]; override: object | null }>('GET', `/wabas/${wabaId}`);
async function overrideOf({ phoneNumberId }: ConnectionBody): Promise<string | undefined> {
  const { items } = await api.sandbox.control<{
    items: { phoneNumberId: string; override: { callbackUrl: string } | null }[];
  }>('GET', '/numbers');
  return items.find((one) => one.phoneNumberId === phoneNumberId)?.override?.callbackUrl;
}
async function callsOf({ appId, wabaId, phoneNumberId }: ConnectionBody) {
  const calls = await api.sandbox.managementCalls();
  return calls.filter((call) => [appId, wabaId, phoneNumberId].some((id) => call.path.split('/').includes(id)));
}
const putNumber = (connection: ConnectionBody, settings: object) => {
  const { phoneNumberId, appId, wabaId, accessToken, appSecret } = connection;
  const known = {
    appId,
    wabaId,
    accessToken,
    appSecret,
    displayPhoneNumber: '+1 202 555 0144',
    verifiedName: 'Bakery',
  };
  return api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...known, ...settings });
};
const putApp = ({ appId }: ConnectionBody, subscription: object | null) =>
  api.sandbox.control('PUT', `/apps/${appId}`, { subscription });

describe('setting up the webhook at Meta', () => {
  it('subscribes the app, sets callback and fields, and proves the App Secret with each call of the token', async () => {
    const connection = api.aConnection();
    const answer = await connect(await aTenant(), connection);
    expect([answer.status, notOk(answer)]).toEqual([200, {}]);
    expect(answer.body).toMatchObject({ state: 'webhook_verified', unsigned: false, numberOverride: false });
    expect((await wabaOf(connection)).subscribedAppIds).toEqual([connection.appId]);
    const { subscription } = await appOf(connection);
    expect(subscription).toMatchObject({ callbackUrl: answer.body.callbackUrl, active: true });
    expect(subscription?.fields).toEqual([...WANTED, 'standby', 'messaging_handovers']);
    const calls = await callsOf(connection);
    const byToken = calls.filter(({ path }) => !path.endsWith('/subscriptions'));
    expect(byToken.length).toBeGreaterThan(5);
    for (const { parameters } of byToken) expect(parameters).toContain('appsecret_proof');
    // Few enough: Meta allows 200 an hour.
    expect(calls.length).toBeLessThanOrEqual(10);
  });

  it('changes nothing that is set up already', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    const first = await connect(tenant, connection);
    const before = (await callsOf(connection)).length;
    const again = await connect(tenant, connection);
    expect([again.status, again.body.id]).toEqual([200, first.body.id]);
    expect((await callsOf(connection)).slice(before).map(({ method }) => method)).toEqual(Array(4).fill('GET'));
  });

  it('takes the fields that Meta offers when it refuses one, and keeps those that were there', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    const { body } = await connect(tenant, connection);
    await putApp(connection, { callbackUrl: body.callbackUrl, verifyToken: body.verifyToken, fields: ['flows'] });
    inFront.onCall = (call, sent) => (call.startsWith('POST') && sent.includes('standby') ? 100 : undefined);
    expect((await connect(tenant, connection)).status).toBe(200);
    expect((await appOf(connection)).subscription?.fields).toEqual([...WANTED, 'flows']);
  });

  it('takes no delivery before the number is connected, and then does', async () => {
    const connection = api.aConnection();
    const early: number[] = [];
    inFront.onCall = async (call, body) => {
      if (!/^POST .*subscriptions$/.test(call)) return undefined;
      const { callback_url: callbackUrl } = JSON.parse(body) as { callback_url: string };
      early.push((await fetch(callbackUrl, { method: 'POST', body: '{}' })).status);
      return undefined;
    };
    const { status, body } = await connect(await aTenant(), connection);
    expect([status, early]).toEqual([200, [404]]);
    await eventually(async () => (await fetch(body.callbackUrl, { method: 'POST', body: '{}' })).status === 401, {
      what: 'the door knows the key, and its secret',
      timeoutMs: 5_000,
    });
  });
});

describe('a callback of somebody else', () => {
  it('is replaced when the owner says so', async () => {
    const connection = api.aConnection();
    await putApp(connection, { ...FOREIGN, fields: ['messages', 'flows'] });
    const answer = await connect(await aTenant(), { ...connection, callback: 'replace' });
    expect(answer.body).toMatchObject({ state: 'webhook_verified', numberOverride: false });
    const { subscription } = await appOf(connection);
    expect(subscription?.callbackUrl).toBe(answer.body.callbackUrl);
    expect(subscription?.fields).toEqual(expect.arrayContaining([...WANTED, 'flows']));
  });

  it('stays, and only this number comes here, with an override of the number', async () => {
    const connection = api.aConnection();
    await putApp(connection, { ...FOREIGN, fields: ['messages'] });
    const tenant = await aTenant();
    const answer = await connect(tenant, { ...connection, callback: 'number_override' });
    expect(answer.body).toMatchObject({ state: 'webhook_verified', numberOverride: true });
    expect(checkOf(answer, 'callback')).toMatchObject({ status: 'ok' });
    expect((await appOf(connection)).subscription).toMatchObject({
      callbackUrl: FOREIGN.callbackUrl,
      fields: ['messages'],
    });
    expect(await overrideOf(connection)).toBe(answer.body.callbackUrl);
    // It is ours now, so nobody is asked again.
    expect((await connect(tenant, connection)).body).toMatchObject({ numberOverride: true });
  });

  it.each(['replace', 'number_override'])(
    'of the account gives way to an override of the number: %s',
    async (callback) => {
      const connection = api.aConnection();
      await api.sandbox.control('PUT', `/wabas/${connection.wabaId}`, {
        subscribedAppIds: [connection.appId],
        override: FOREIGN,
      });
      await putApp(connection, { ...FOREIGN, fields: ['messages'] });
      const answer = await connect(await aTenant(), { ...connection, callback });
      expect(answer.body).toMatchObject({ state: 'webhook_verified', numberOverride: true });
      expect((await wabaOf(connection)).override).toEqual({ callbackUrl: FOREIGN.callbackUrl });
      expect((await appOf(connection)).subscription?.callbackUrl).toBe(FOREIGN.callbackUrl);
    },
  );

  it('is what an earlier address of ours is not', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    const { body } = await connect(tenant, connection);
    const earlier = body.callbackUrl.replace(api.publicUrl, 'https://before.example.com');
    await putApp(connection, { callbackUrl: earlier, verifyToken: body.verifyToken, fields: WANTED });
    expect((await connect(tenant, connection)).status).toBe(200);
    expect((await appOf(connection)).subscription?.callbackUrl).toBe(body.callbackUrl);
  });
});

describe('what cannot be set up for the owner', () => {
  it('without the App Secret: it says what is unprotected, and waits for the owner at Meta', async () => {
    const connection = api.aConnection({ appSecret: undefined });
    const tenant = await aTenant();
    const answer = await connect(tenant, connection);
    expect(answer.body).toMatchObject({ state: 'validated', unsigned: true });
    expect(notOk(answer)).toEqual({
      app_secret: 'app_secret_missing',
      callback: 'callback_not_set',
      fields: 'not_checked',
    });
    expect(checkOf(answer, 'callback')).toMatchObject({ status: 'warning' });
    expect(checkOf(answer, 'callback')?.action).toMatch(/paste the Callback URL and the Verify Token/);
    expect(checkOf(answer, 'fields')?.action).toMatch(/messages field must show as Subscribed/);
    expect((await appOf(connection)).subscription).toBeNull();
    // The account is subscribed all the same: that needs no secret.
    expect((await wabaOf(connection)).subscribedAppIds).toEqual([connection.appId]);

    // Pasted at Meta by the owner: Verify and Save.
    const { callbackUrl, verifyToken } = answer.body;
    const pasted = await fetch(`${api.sandbox.url}/v26.0/${connection.appId}/subscriptions`, {
      method: 'POST',
      headers: { 'content-type': 'application/json', authorization: `Bearer ${connection.appId}|${api.appSecret}` },
      body: JSON.stringify({
        object: 'whatsapp_business_account',
        callback_url: callbackUrl,
        verify_token: verifyToken,
        fields: 'messages',
      }),
    });
    expect(pasted.status).toBe(200);
    await eventually(
      async () =>
        (await api.call('GET', `/channels/${answer.body.id}`, { key: tenant.key })).body['state'] ===
        'webhook_verified',
      { what: 'the verification is noted' },
    );
    const again = await connect(tenant, connection);
    expect(notOk(again)).toEqual({ app_secret: 'app_secret_missing', fields: 'not_checked' });
  });

  it('with a token for messages only: nothing is called broken, and everything that is known is done', async () => {
    const connection = api.aConnection();
    const { accessToken, appId } = connection;
    await api.sandbox.control('PUT', '/tokens', { accessToken, appId, scopes: ['whatsapp_business_messaging'] });
    const answer = await connect(await aTenant(), connection);
    expect(answer.status).toBe(200);
    expect(notOk(answer)).toEqual({
      scope_management: 'scope_management_missing',
      waba: 'not_checked',
      phone_number: 'not_checked',
      phone_number_in_waba: 'not_checked',
      phone_number_registered: 'not_checked',
      app_subscribed: 'not_checked',
    });
    expect(answer.body).toMatchObject({ state: 'webhook_verified', displayPhoneNumber: null });
    // The app's settings need its secret only.
    expect((await appOf(connection)).subscription?.callbackUrl).toBe(answer.body.callbackUrl);
  });

  it('refuses an override of the number to a token that may not set it', async () => {
    const connection = api.aConnection();
    const { accessToken, appId } = connection;
    await api.sandbox.control('PUT', '/tokens', { accessToken, appId, scopes: ['whatsapp_business_messaging'] });
    await putApp(connection, { ...FOREIGN, fields: ['messages'] });
    const answer = await connect(await aTenant(), { ...connection, callback: 'number_override' });
    expect([answer.status, answer.body.code]).toEqual([422, 'scope_management_missing']);
  });
});

describe('what Meta says of the number', () => {
  it.each([
    ['STANDARD', false, 80],
    ['HIGH', false, 1_000],
    ['STANDARD', true, 20],
  ])('is kept: %s, on the phone app %s, %d messages a second', async (throughput, isOnBizApp, perSecond) => {
    const connection = api.aConnection({ displayPhoneNumber: 'as the owner calls it' });
    await putNumber(connection, { throughput, isOnBizApp, qualityRating: 'YELLOW' });
    const { body } = await connect(await aTenant(), connection);
    expect(body).toMatchObject({
      displayPhoneNumber: '+1 202 555 0144',
      verifiedName: 'Bakery',
      qualityRating: 'YELLOW',
      throughput,
      onBusinessApp: isOnBizApp,
    });
    const rows = await api.database.query('SELECT messages_per_second FROM channels WHERE id = $1', [body.id]);
    expect(rows).toEqual([{ messages_per_second: perSecond }]);
  });

  it('does not keep a test number from being connected, and warns of one that Meta limits', async () => {
    const ofTest = api.aConnection();
    await putNumber(ofTest, { isTestNumber: true, codeVerificationStatus: 'NOT_VERIFIED' });
    expect(notOk(await connect(await aTenant(), ofTest))).toEqual({});
    const limited = api.aConnection();
    await putNumber(limited, { status: 'RESTRICTED' });
    const answer = await connect(await aTenant(), limited);
    expect([answer.status, notOk(answer)]).toEqual([200, { phone_number_registered: 'phone_number_limited' }]);
  });
});

describe('connects that come together', () => {
  it('of one number by two workspaces leave one connection, and Meta delivers to that one', async () => {
    const connection = api.aConnection();
    const answers = await Promise.all([await aTenant(), await aTenant()].map((tenant) => connect(tenant, connection)));
    const [won] = answers.filter(({ status }) => status === 200);
    const [lost] = answers.filter(({ status }) => status !== 200);
    expect([won?.status, lost?.status]).toEqual([200, 409]);
    const rows = await api.database.query('SELECT id FROM channels WHERE phone_number_id = $1', [
      connection.phoneNumberId,
    ]);
    expect(rows).toEqual([{ id: won?.body.id }]);
    expect((await appOf(connection)).subscription?.callbackUrl).toBe(won?.body.callbackUrl);
    const keys = await api.database.query('SELECT id FROM webhook_keys WHERE app_id = $1', [connection.appId]);
    expect(keys).toHaveLength(1);
  });

  it('wait for one that died with its claim only as long as the claim lasts', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    expect((await connect(tenant, connection)).status).toBe(200);
    await api.database.query(`UPDATE webhook_keys SET connecting_until = now() + interval '300 ms' WHERE app_id = $1`, [
      connection.appId,
    ]);
    expect((await connect(tenant, connection)).status).toBe(200);
  });
});

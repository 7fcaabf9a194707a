import { createHmac, randomUUID } from 'node:crypto';
import {
  type ApiAnswer,
  type GraphInFront,
  startGraphInFront,
  startTestGateway,
  type TestGateway,
} from '@answerline/testing';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';

type ConnectionBody = ReturnType<TestGateway['aConnection']>;

/** A callback that the owner has had at Meta for something else. */
const FOREIGN = { callbackUrl: 'https://other.example.com/hook', verifyToken: 'theirs' };
const nowSeconds = () => Math.floor(Date.now() / 1000);
const DAY_SECONDS = 24 * 60 * 60;

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
afterEach(async () => {
  inFront.onCall = () => undefined;
  await api.sandbox.control('DELETE', '/faults');
});
afterAll(async () => {
  await api.stop();
  await inFront.close();
});

/** Meta refuses a call with this code; with `after`, once such a call was made. */
function refuseCall(refusedCall: RegExp, code: number, after?: RegExp): void {
  let isOn = after === undefined;
  inFront.onCall = (call) => {
    if (isOn && refusedCall.test(call)) return code;
    isOn ||= after?.test(call) === true;
    return undefined;
  };
}

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
const token = ({ accessToken, appId }: ConnectionBody, settings: object) =>
  api.sandbox.control('PUT', '/tokens', { accessToken, appId, ...settings });
const number = (connection: ConnectionBody, settings: object) => {
  const { phoneNumberId, appId, wabaId, accessToken, appSecret } = connection;
  const known = {
    appId,
    wabaId,
    accessToken,
    appSecret,
    displayPhoneNumber: '+1 202 555 0100',
    verifiedName: 'Bakery',
  };
  return api.sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...known, ...settings });
};
const foreignCallback = ({ appId }: ConnectionBody, fields = ['messages']) =>
  api.sandbox.control('PUT', `/apps/${appId}`, { subscription: { ...FOREIGN, fields } });

/** Everything that a connect may change: our tables, and what the sandbox shows of the app, the account and the number. */
async function everything({ appId, wabaId, phoneNumberId }: ConnectionBody): Promise<object> {
  const { items } = await api.sandbox.control<{ items: { phoneNumberId: string }[] }>('GET', '/numbers');
  const [tables] = await api.database.query(
    // Without the times that the door notes in the background.
    `SELECT (SELECT json_agg(to_jsonb(k) - '{last_accepted_at,last_signed_at,last_refused_at,verified_at}'::text[] ORDER BY k.id)
             FROM webhook_keys k) AS keys,
            (SELECT json_agg(c ORDER BY c.id) FROM channels c) AS channels`,
  );
  return {
    tables,
    app: await api.sandbox.control('GET', `/apps/${appId}`),
    waba: await api.sandbox.control('GET', `/wabas/${wabaId}`),
    number: items.find((one) => one.phoneNumberId === phoneNumberId),
  };
}

interface Check {
  readonly check: string;
  readonly status: string;
  readonly code?: string;
  readonly action: string | null;
}
const checksOf = ({ body }: ApiAnswer): readonly Check[] => body['checks'] as Check[];
const checkOf = (answer: ApiAnswer, name: string) => checksOf(answer).find(({ check }) => check === name);

/** Calls of this connection that changed something at Meta and were taken, as `POST subscriptions`. */
async function changesAtMeta({ appId, wabaId, phoneNumberId }: ConnectionBody): Promise<string[]> {
  const calls = await api.sandbox.managementCalls();
  return calls
    .filter(({ method, path, refusedWith }) => method !== 'GET' && refusedWith === undefined && path !== undefined)
    .filter(({ path }) => [appId, wabaId, phoneNumberId].some((id) => path.split('/').includes(id)))
    .map(({ method, path }) => `${method} ${path.split('/').slice(3).join('/') || 'number'}`);
}

/** Connects what must be refused, and sees that nothing is left of it, here or at Meta. */
async function refused(
  connection: ConnectionBody,
  expected: { readonly status: number; readonly code: string },
  body: object = connection,
  tenant?: Tenant,
): Promise<ApiAnswer> {
  const owner = tenant ?? (await aTenant());
  const before = await everything(connection);
  const answer = await connect(owner, body);
  expect([answer.status, answer.body.code]).toEqual([expected.status, expected.code]);
  expect(await everything(connection)).toEqual(before);
  expect(JSON.stringify(answer.body)).not.toContain(connection.accessToken);
  expect(JSON.stringify(answer.body)).not.toContain(api.appSecret);
  return answer;
}

/** As {@link refused}, and the code is that of this check, with something to do about it. */
async function refusedBy(check: string, code: string, connection: ConnectionBody, body?: object): Promise<ApiAnswer> {
  const answer = await refused(connection, { status: 422, code }, body);
  expect(checkOf(answer, check)).toMatchObject({ status: 'failed', code });
  expect(answer.body['detail']).toContain(checkOf(answer, check)?.action);
  return answer;
}

describe('what a connection is refused for, before anything is saved', () => {
  it('app_id_mismatch: the token is of another app', async () => {
    const connection = api.aConnection();
    await refusedBy('app_id', 'app_id_mismatch', connection, { ...connection, appId: api.aConnection().appId });
  });

  it('token_invalid', async () => {
    const connection = api.aConnection();
    const answer = await refusedBy('token', 'token_invalid', connection, { ...connection, accessToken: 'EAAunknown' });
    expect(checksOf(answer).filter(({ status }) => status === 'not_checked')).toHaveLength(11);
  });

  it('token_invalid: revoked at Meta', async () => {
    const connection = api.aConnection();
    await token(connection, { isValid: false, errorSubcode: 460 });
    await refusedBy('token', 'token_invalid', connection);
  });

  it('token_expired, with the words of the guide', async () => {
    const connection = api.aConnection();
    await token(connection, { expiresAt: nowSeconds() - 60 });
    const answer = await refusedBy('token', 'token_expired', connection);
    expect(checkOf(answer, 'token')?.action).toMatch(/System Users.*Never/);
  });

  it('token_temporary: it ends within 7 days, unless that is accepted', async () => {
    const connection = api.aConnection();
    await token(connection, { expiresAt: nowSeconds() + 6 * DAY_SECONDS });
    await refusedBy('token', 'token_temporary', connection);
    const accepted = await connect(await aTenant(), { ...connection, acceptExpiring: true });
    expect(accepted.status).toBe(200);
    expect(checkOf(accepted, 'token')).toMatchObject({ status: 'warning', code: 'token_temporary' });
    const lasting = api.aConnection();
    await token(lasting, { expiresAt: nowSeconds() + 60 * DAY_SECONDS });
    expect((await connect(await aTenant(), lasting)).status).toBe(200);
  });

  it('scope_messaging_missing: nothing could be sent', async () => {
    const connection = api.aConnection();
    await token(connection, { scopes: ['whatsapp_business_management'] });
    await refusedBy('scope_messaging', 'scope_messaging_missing', connection);
  });

  it('waba_not_found', async () => {
    const connection = api.aConnection();
    await refusedBy('waba', 'waba_not_found', connection, { ...connection, wabaId: '40400000000000' });
  });

  it('waba_not_shared: the token was given another account', async () => {
    const connection = api.aConnection();
    await token(connection, { wabaIds: ['1'] });
    await refusedBy('waba', 'waba_not_shared', connection);
  });

  it('waba_not_shared: the account is of another app', async () => {
    const connection = api.aConnection();
    const { wabaId } = api.aConnection();
    await refusedBy('waba', 'waba_not_shared', connection, { ...connection, wabaId });
  });

  it('phone_number_not_found', async () => {
    const connection = api.aConnection();
    const body = { ...connection, phoneNumberId: '40400000000000' };
    await refusedBy('phone_number', 'phone_number_not_found', connection, body);
  });

  it('phone_number_not_in_waba, also when its account has more numbers than a page', async () => {
    const connection = api.aConnection();
    const { appId, accessToken } = connection;
    const otherWaba = '515000000000001';
    for (let n = 0; n < 101; n += 1) {
      await number({ ...connection, phoneNumberId: String(616_000_000_000_000 + n) }, { wabaId: otherWaba });
    }
    const body = { ...connection, wabaId: otherWaba };
    await refusedBy('phone_number_in_waba', 'phone_number_not_in_waba', connection, body);
    const last = { appId, accessToken, wabaId: otherWaba, phoneNumberId: '616000000000100', appSecret: api.appSecret };
    expect((await connect(await aTenant(), last)).status).toBe(200);
  });

  it('phone_number_not_registered', async () => {
    const connection = api.aConnection();
    await number(connection, { platformType: 'NOT_APPLICABLE' });
    await refusedBy('phone_number_registered', 'phone_number_not_registered', connection);
  });

  it('phone_number_in_use, without saying by whom, and only to somebody who has the number at Meta', async () => {
    const connection = api.aConnection();
    const owner = await api.createWorkspace();
    const chatbotId = await api.createChatbot(owner.key);
    expect((await connect({ key: owner.key, chatbotId }, connection)).status).toBe(200);
    const answer = await refused(connection, { status: 409, code: 'phone_number_in_use' });
    expect(checkOf(answer, 'phone_number_free')).toMatchObject({ status: 'failed', code: 'phone_number_in_use' });
    for (const theirs of [owner.id, chatbotId]) expect(JSON.stringify(answer.body)).not.toContain(theirs);
    const stranger = { ...connection, accessToken: 'EAAguessed' };
    await refused(connection, { status: 422, code: 'token_invalid' }, stranger);
  });

  it('app_secret_wrong, before any delivery could fail by it', async () => {
    const connection = api.aConnection();
    const body = { ...connection, appSecret: 'f'.repeat(32) };
    const answer = await refusedBy('app_secret', 'app_secret_wrong', connection, body);
    expect(checkOf(answer, 'phone_number_in_waba')).toMatchObject({ status: 'ok' });
  });

  it('app_not_subscribed: Meta does not let the account deliver to the app', async () => {
    const connection = api.aConnection();
    refuseCall(/^POST .*subscribed_apps$/, 200);
    await refusedBy('app_subscribed', 'app_not_subscribed', connection);
    expect(await changesAtMeta(connection)).toEqual([]);
  });

  it('field_not_subscribed: a foreign callback without the field, past which only an override leads', async () => {
    const connection = api.aConnection();
    await foreignCallback(connection, ['account_update']);
    const body = { ...connection, callback: 'number_override' };
    await refusedBy('fields', 'field_not_subscribed', connection, body);
    expect(await changesAtMeta(connection)).toEqual([]);
  });

  it('callback_in_use: a foreign callback is left as it is', async () => {
    const connection = api.aConnection();
    await foreignCallback(connection);
    const answer = await refused(connection, { status: 409, code: 'callback_in_use' });
    expect(checkOf(answer, 'callback')?.action).toMatch(/"replace".*"number_override"/);
    expect(JSON.stringify(answer.body)).not.toContain('other.example.com');
    expect(await changesAtMeta(connection)).toEqual([]);
  });

  it('callback_in_use without the App Secret, and for overrides of the account and the number', async () => {
    const ofApp = api.aConnection({ appSecret: undefined });
    await foreignCallback(ofApp);
    const ofWaba = api.aConnection();
    await api.sandbox.control('PUT', `/wabas/${ofWaba.wabaId}`, {
      subscribedAppIds: [ofWaba.appId],
      override: FOREIGN,
    });
    const ofNumber = api.aConnection();
    await number(ofNumber, { override: FOREIGN });
    for (const connection of [ofApp, ofWaba, ofNumber]) {
      await refused(connection, { status: 409, code: 'callback_in_use' });
    }
  });

  it('callback_unreachable: Meta cannot verify us; what was done before is undone', async () => {
    const connection = api.aConnection();
    refuseCall(/^POST .*subscriptions$/, 2200);
    await refusedBy('callback', 'callback_unreachable', connection);
    expect(await changesAtMeta(connection)).toEqual(['POST subscribed_apps', 'DELETE subscribed_apps']);
  });

  it('plan_upgrade_required: nothing is asked at Meta', async () => {
    const connection = api.aConnection();
    const { key } = await api.createWorkspace('starter');
    const before = (await api.sandbox.managementCalls()).length;
    const tenant = { key, chatbotId: await api.createChatbot(key) };
    const answer = await refused(connection, { status: 402, code: 'plan_upgrade_required' }, connection, tenant);
    expect(answer.body).toMatchObject({ currentPlan: 'starter', requiredPlans: ['growth', 'scale', 'enterprise'] });
    expect(await api.sandbox.managementCalls()).toHaveLength(before);
  });

  it.each([
    ['cut connections', { cutBeforeAccept: 1 }],
    ['a fault of Graph', { graphErrorStatus: 503 }],
    ['a page of a proxy', { graphErrorStatus: 502, graphErrorBody: false }],
  ])('graph_unreachable: %s', async (_what, fault) => {
    const connection = api.aConnection();
    await api.sandbox.faults({ kinds: ['management'], ...fault });
    const answer = await refused(connection, { status: 502, code: 'graph_unreachable' });
    expect(answer.body['detail']).toMatch(/Meta did not answer/);
  });

  it('rate_limited, with how long to wait', async () => {
    const connection = api.aConnection();
    await api.sandbox.faults({ kinds: ['management'], errorCode: 80007 });
    const answer = await refused(connection, { status: 429, code: 'rate_limited' });
    expect(Number(answer.headers.get('retry-after'))).toBeGreaterThan(0);
  });

  it('is undone at Meta when the last look finds something missing', async () => {
    const connection = api.aConnection();
    refuseCall(/^GET .*phone_numbers$/, 2, /^POST .*subscriptions$/);
    await refused(connection, { status: 502, code: 'graph_unreachable' });
    expect(await changesAtMeta(connection)).toEqual([
      'POST subscribed_apps',
      'POST subscriptions',
      'DELETE subscriptions',
      'DELETE subscribed_apps',
    ]);
  });
});

describe('what cannot be undone', () => {
  it('is kept, with a warning, when Meta is away for the last look: giving up would leave nothing that delivers', async () => {
    const connection = api.aConnection();
    await foreignCallback(connection);
    refuseCall(/^GET .*phone_numbers$/, 2, /^POST .*subscriptions$/);
    const answer = await connect(await aTenant(), { ...connection, callback: 'replace' });
    expect(answer.status).toBe(200);
    expect(checksOf(answer).filter(({ status }) => status === 'failed')).toEqual([]);
    expect(checksOf(answer).map(({ code }) => code)).toContain('graph_unreachable');
    expect(await changesAtMeta(connection)).toEqual(['POST subscribed_apps', 'POST subscriptions']);
    const verification = `?hub.mode=subscribe&hub.challenge=7&hub.verify_token=${answer.body.verifyToken}`;
    expect(await (await fetch(`${answer.body.callbackUrl}${verification}`)).text()).toBe('7');
  });
});

describe('an existing connection', () => {
  it('goes on working, unchanged, when a new connect is refused', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    const { body } = await connect(tenant, connection);
    const deliver = async () => {
      const delivery = JSON.stringify({ object: 'whatsapp_business_account', entry: [], n: randomUUID() });
      const signature = createHmac('sha256', api.appSecret).update(delivery).digest('hex');
      const headers = { 'content-type': 'application/json', 'x-hub-signature-256': `sha256=${signature}` };
      return (await fetch(body.callbackUrl, { method: 'POST', body: delivery, headers })).status;
    };
    expect(await deliver()).toBe(200);
    const wrong = { ...connection, appSecret: 'e'.repeat(32) };
    await refused(connection, { status: 422, code: 'app_secret_wrong' }, wrong, tenant);
    await refused(connection, { status: 422, code: 'token_invalid' }, { ...connection, accessToken: 'EAAx' }, tenant);
    refuseCall(/^GET /, 2);
    await refused(connection, { status: 502, code: 'graph_unreachable' }, connection, tenant);
    expect(await deliver()).toBe(200);
    const challenge = `${body.callbackUrl}?hub.mode=subscribe&hub.challenge=7&hub.verify_token=${body.verifyToken}`;
    expect(await (await fetch(challenge)).text()).toBe('7');
  });

  it('keeps the webhook key of another number of its app when the connect of a second one is refused', async () => {
    const connection = api.aConnection();
    const tenant = await aTenant();
    const first = await connect(tenant, connection);
    const second = { ...connection, phoneNumberId: '40400000000001' };
    await refused(connection, { status: 422, code: 'phone_number_not_found' }, second, tenant);
    expect((await api.call('GET', `/channels/${first.body.id}`, { key: tenant.key })).body).toMatchObject({
      callbackUrl: first.body.callbackUrl,
      verifyToken: first.body.verifyToken,
    });
  });
});

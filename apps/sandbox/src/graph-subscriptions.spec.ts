import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { signWebhook } from './signature.ts';
import { trySandbox, until, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;
let appId: string;
let appToken: string;
let wabaPath: string;
let appPath: string;

beforeEach(async () => {
  sandbox = await trySandbox();
  ({ appId } = sandbox.number);
  appToken = `${appId}|${sandbox.number.appSecret}`;
  wabaPath = `/${sandbox.number.wabaId}/subscribed_apps`;
  appPath = `/${appId}/subscriptions`;
});
afterEach(() => sandbox.close());

const subscribedApps = async () => (await sandbox.graph('GET', wabaPath)).body['data'] as Record<string, unknown>[];
const subscription = (path: string, more: Record<string, string> = {}) => ({
  object: 'whatsapp_business_account',
  callback_url: `${sandbox.businessUrl}${path}`,
  verify_token: 'verify-me',
  fields: 'messages,smb_message_echoes',
  ...more,
});
const subscribe = (form: Record<string, string>) => sandbox.graph('POST', appPath, { token: appToken, form });
const subscriptions = async () => (await sandbox.graph('GET', appPath, { token: appToken })).body['data'];

describe("a WABA's subscribed apps", () => {
  it('are none until the app subscribes, and none when it has left', async () => {
    expect(await subscribedApps()).toEqual([]);
    expect(await sandbox.graph('POST', wabaPath)).toEqual({ status: 200, body: { success: true } });
    expect(await subscribedApps()).toEqual([
      { whatsapp_business_api_data: { id: appId, link: expect.stringContaining(appId), name: expect.any(String) } },
    ]);
    expect(await sandbox.graph('DELETE', wabaPath)).toEqual({ status: 200, body: { success: true } });
    expect(await subscribedApps()).toEqual([]);
  });

  it('have an override that is verified, and lose it by a POST without a body', async () => {
    const body = { override_callback_uri: `${sandbox.businessUrl}/waba`, verify_token: 'verify-me' };
    expect(await sandbox.graph('POST', wabaPath, { body })).toMatchObject({
      status: 200,
      body: { success: true, data: [{ override_callback_uri: body.override_callback_uri }] },
    });
    expect(sandbox.verified).toEqual(['/waba']);
    expect(await subscribedApps()).toMatchObject([{ override_callback_uri: body.override_callback_uri }]);
    await sandbox.graph('POST', wabaPath);
    expect((await subscribedApps())[0]).not.toHaveProperty('override_callback_uri');
  });

  it('stay as they were when the override does not verify', async () => {
    const body = { override_callback_uri: `${sandbox.businessUrl}/waba`, verify_token: 'wrong' };
    expect((await sandbox.graph('POST', wabaPath, { body })).body.error).toMatchObject({ code: 2200 });
    expect(await subscribedApps()).toEqual([]);
  });

  it('may be several, each with its own override', async () => {
    await sandbox.control('PUT', `/wabas/${sandbox.number.wabaId}`, {
      subscribedAppIds: ['990000000000002'],
      override: { callbackUrl: 'https://foreign.example/hook', verifyToken: 'x' },
    });
    await sandbox.graph('POST', wabaPath);
    expect(await subscribedApps()).toMatchObject([
      { whatsapp_business_api_data: { id: '990000000000002' }, override_callback_uri: 'https://foreign.example/hook' },
      { whatsapp_business_api_data: { id: appId } },
    ]);
    await sandbox.graph('DELETE', wabaPath);
    expect(await subscribedApps()).toHaveLength(1);
  });
});

describe("an app's subscription", () => {
  it('is verified at once, set with its fields, changed and taken away', async () => {
    expect(await subscriptions()).toEqual([]);
    expect(await subscribe(subscription('/app'))).toEqual({ status: 200, body: { success: 'true' } });
    expect(sandbox.verified).toEqual(['/app']);
    expect(await subscriptions()).toEqual([
      {
        object: 'whatsapp_business_account',
        callback_url: `${sandbox.businessUrl}/app`,
        active: true,
        fields: [
          { name: 'messages', version: 'v26.0' },
          { name: 'smb_message_echoes', version: 'v26.0' },
        ],
      },
    ]);
    expect(await sandbox.control('GET', `/apps/${appId}`)).toEqual({
      appId,
      subscription: {
        callbackUrl: `${sandbox.businessUrl}/app`,
        fields: ['messages', 'smb_message_echoes'],
        active: true,
      },
    });
    const parameters = { object: 'whatsapp_business_account', fields: 'smb_message_echoes' };
    await sandbox.graph('DELETE', appPath, { token: appToken, parameters });
    expect(await subscriptions()).toMatchObject([{ fields: [{ name: 'messages' }] }]);
    await sandbox.graph('DELETE', appPath, { token: appToken, parameters: { object: 'whatsapp_business_account' } });
    expect(await subscriptions()).toEqual([]);
  });

  it('takes JSON, a list of fields and the token as a parameter too', async () => {
    const body = { ...subscription('/app'), fields: ['messages'], access_token: appToken };
    expect(await sandbox.graph('POST', appPath, { token: null, body })).toMatchObject({ status: 200 });
    expect(await subscriptions()).toMatchObject([{ fields: [{ name: 'messages' }] }]);
  });

  it('stays as it was when the callback does not verify', async () => {
    await subscribe(subscription('/app'));
    expect(await subscribe(subscription('/other', { verify_token: 'wrong' }))).toMatchObject({
      status: 400,
      body: { error: { code: 2200 } },
    });
    expect(await subscriptions()).toMatchObject([{ callback_url: `${sandbox.businessUrl}/app` }]);
  });

  it.each([
    ['another object', { object: 'page' }],
    ['no fields', { fields: '' }],
    ['a field that cannot be one', { fields: 'messages,No Field' }],
    ['no URL', { callback_url: 'hook' }],
    ['no verify token', { verify_token: '' }],
  ])('is not set from %s', async (_, more) => {
    expect((await subscribe(subscription('/app', more))).body.error).toMatchObject({ code: 100 });
    expect(await subscriptions()).toEqual([]);
  });

  it("is for the app's own token only", async () => {
    expect((await sandbox.graph('GET', appPath)).body.error).toMatchObject({ code: 15 });
    await sandbox.control('PUT', '/apps/990000000000002', { appSecret: 'other' });
    const token = '990000000000002|other';
    expect((await sandbox.graph('GET', appPath, { token })).body.error).toMatchObject({ code: 100, error_subcode: 33 });
    expect((await sandbox.graph('GET', wabaPath, { token: appToken })).body.error).toMatchObject({ code: 10 });
  });
});

describe('webhooks', () => {
  const callback = (path: string) => ({ callbackUrl: `${sandbox.businessUrl}${path}`, verifyToken: 'verify-me' });
  const put = (more: object) => {
    const { phoneNumberId, ...settings } = sandbox.number;
    return sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, ...more });
  };
  const putApp = (more: object) =>
    sandbox.control('PUT', `/apps/${appId}`, { subscription: { ...callback('/app'), fields: ['messages'], ...more } });
  const putWaba = (more: object) => sandbox.control('PUT', `/wabas/${sandbox.number.wabaId}`, more);
  /** Where the next message of a contact goes. */
  const whereTo = async () => {
    const before = sandbox.received.length;
    await sandbox.control('POST', '/messages', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
    });
    await until('the webhook', () => sandbox.received.length > before);
    return sandbox.received.at(-1)!.path;
  };

  it("go to the number's override, else its WABA's, else its app's callback, else the number's own", async () => {
    await put({ ...callback('/own'), override: callback('/number') });
    await putApp({});
    await putWaba({ subscribedAppIds: [appId], override: callback('/waba') });
    expect(await whereTo()).toBe('/number');
    await put({ ...callback('/own'), override: null });
    expect(await whereTo()).toBe('/waba');
    await putWaba({ override: null });
    expect(await whereTo()).toBe('/app');
    await putApp({ active: false });
    expect(await whereTo()).toBe('/own');
    await putApp({ fields: ['account_update'] });
    expect(await whereTo()).toBe('/own');
    await putApp({});
    expect(await whereTo()).toBe('/app');
    await putWaba({ subscribedAppIds: [] });
    expect(await whereTo()).toBe('/own');
  });

  it('go nowhere when nobody asked for them, and are not kept', async () => {
    await sandbox.control('POST', '/messages', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
    });
    expect(await sandbox.control('GET', '/deliveries')).toMatchObject({ attempts: 0, pending: 0, unsubscribed: 1 });
  });

  it("are signed with the app's secret", async () => {
    await put(callback('/own'));
    await whereTo();
    await sandbox.control('PUT', `/apps/${appId}`, { appSecret: 'renewed' });
    await whereTo();
    const [first, second] = sandbox.received;
    expect(first!.signature).toBe(signWebhook(sandbox.number.appSecret, first!.raw));
    expect(second!.signature).toBe(signWebhook('renewed', second!.raw));
  });

  it('of templates and the account pass by an override', async () => {
    await put({ override: callback('/number') });
    await putApp({ fields: ['messages', 'account_update', 'standby'] });
    await putWaba({ subscribedAppIds: [appId] });
    const send = (field: string) =>
      sandbox.control('POST', '/webhooks', {
        phoneNumberId: sandbox.number.phoneNumberId,
        body: { object: 'whatsapp_business_account', entry: [{ id: '1', changes: [{ field, value: {} }] }] },
      });
    for (const field of ['account_update', 'standby', 'message_template_status_update']) await send(field);
    await until('two of them', () => sandbox.received.length === 2);
    const places = sandbox.received.map(({ path, body }) => [body.entry[0]!.changes[0]!.field, path]);
    expect(Object.fromEntries(places)).toEqual({ account_update: '/app', standby: '/number' });
    expect(await sandbox.control('GET', '/deliveries')).toMatchObject({ unsubscribed: 1 });
  });

  it('tell of what the business wrote on its own phone', async () => {
    await put(callback('/own'));
    const { messageId } = await sandbox.control('POST', '/echoes', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
      text: 'I take over',
    });
    await until('the webhook', () => sandbox.received.length === 1);
    expect(sandbox.received[0]!.body.entry[0]!.changes[0]).toMatchObject({
      field: 'smb_message_echoes',
      value: {
        metadata: { phone_number_id: sandbox.number.phoneNumberId },
        message_echoes: [
          {
            from: '12025550100',
            to: '12025550101',
            to_user_id: 'US.80412208655302740001',
            id: messageId,
            timestamp: String(Math.floor(sandbox.clock.nowMs / 1000)),
            type: 'text',
            text: { body: 'I take over' },
          },
        ],
      },
    });
    const path = `/thread?phoneNumberId=${sandbox.number.phoneNumberId}&contactId=customer-a`;
    expect(await sandbox.control('GET', path)).toMatchObject({
      messages: [{ direction: 'outbound', text: 'I take over' }],
    });
  });
});

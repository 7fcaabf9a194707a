import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { trySandbox, until, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;
let phone: string;
let waba: string;

beforeEach(async () => {
  sandbox = await trySandbox();
  phone = `/${sandbox.number.phoneNumberId}`;
  waba = `/${sandbox.number.wabaId}`;
});
afterEach(() => sandbox.close());

const get = (path: string, parameters: Record<string, string> = {}) => sandbox.graph('GET', path, { parameters });
const putNumber = (id: string, more: object) => {
  const { phoneNumberId: _, ...settings } = sandbox.number;
  return sandbox.control('PUT', `/numbers/${id}`, { ...settings, ...more });
};

describe('a WABA', () => {
  it('has the fields that Meta gives unasked, and those that are asked for', async () => {
    expect((await get(waba)).body).toMatchObject({ id: waba.slice(1), currency: 'USD', timezone_id: '1' });
    await sandbox.control('PUT', `/wabas${waba}`, { currency: 'EUR', name: 'Bakery', accountReviewStatus: 'PENDING' });
    expect((await get(waba, { fields: 'name, currency,account_review_status' })).body).toEqual({
      id: waba.slice(1),
      name: 'Bakery',
      currency: 'EUR',
      account_review_status: 'PENDING',
    });
  });

  it('refuses a field that there is not', async () => {
    expect((await get(waba, { fields: 'name,colour' })).body.error).toMatchObject({
      code: 100,
      message: expect.stringContaining('(colour)'),
    });
  });

  it('lists its numbers in pages', async () => {
    for (const id of ['2', '3', '4', '5']) await putNumber(id, {});
    await putNumber('6', { wabaId: '102290000000009' });
    const seen: string[] = [];
    let after: string | undefined;
    let pages = 0;
    do {
      const { body } = await get(`${waba}/phone_numbers`, { fields: 'id', limit: '2', ...(after && { after }) });
      const { data, paging } = body as unknown as {
        data: { id: string }[];
        paging: { cursors: { after: string }; next?: string };
      };
      expect(Object.keys(data[0]!)).toEqual(['id']);
      seen.push(...data.map(({ id }) => id));
      after = paging.next === undefined ? undefined : paging.cursors.after;
      if (paging.next !== undefined) {
        expect(new URL(paging.next).searchParams.get('after')).toBe(after);
        const next = await fetch(paging.next, { headers: { authorization: `Bearer ${sandbox.number.accessToken}` } });
        expect(next.status).toBe(200);
      }
      pages += 1;
    } while (after !== undefined);
    expect([seen, pages]).toEqual([[sandbox.number.phoneNumberId, '2', '3', '4', '5'], 3]);
  });

  it('has no paging when it has no numbers', async () => {
    await sandbox.control('PUT', '/wabas/102290000000009', {});
    expect((await get('/102290000000009/phone_numbers')).body).toEqual({ data: [] });
  });

  it.each([{ after: 'nowhere' }, { limit: '0' }, { limit: 'all' }])('refuses the page %j', async (page) => {
    expect((await get(`${waba}/phone_numbers`, page)).body.error).toMatchObject({ code: 100 });
  });
});

describe('a number', () => {
  it('has the fields that Meta gives unasked', async () => {
    expect((await get(phone)).body).toEqual({
      verified_name: 'Bakery',
      code_verification_status: 'VERIFIED',
      display_phone_number: '+1 202-555-0100',
      quality_rating: 'GREEN',
      platform_type: 'CLOUD_API',
      throughput: { level: 'STANDARD' },
      webhook_configuration: {},
      id: sandbox.number.phoneNumberId,
    });
  });

  it('tells what it was given', async () => {
    await putNumber(sandbox.number.phoneNumberId, {
      platformType: 'NOT_APPLICABLE',
      status: 'DISCONNECTED',
      codeVerificationStatus: 'EXPIRED',
      qualityRating: 'RED',
      throughput: 'HIGH',
      isOnBizApp: true,
      isTestNumber: true,
    });
    const fields =
      'platform_type,status,code_verification_status,quality_rating,throughput,is_on_biz_app,account_mode,id';
    expect((await get(phone, { fields })).body).toEqual({
      platform_type: 'NOT_APPLICABLE',
      status: 'DISCONNECTED',
      code_verification_status: 'EXPIRED',
      quality_rating: 'RED',
      throughput: { level: 'HIGH' },
      is_on_biz_app: true,
      account_mode: 'SANDBOX',
      id: sandbox.number.phoneNumberId,
    });
  });

  it('shows which callbacks there are', async () => {
    const { appId } = sandbox.number;
    const callback = (path: string) => ({ callbackUrl: `${sandbox.businessUrl}${path}`, verifyToken: 'verify-me' });
    await sandbox.control('PUT', `/apps/${appId}`, { subscription: { ...callback('/app'), fields: ['messages'] } });
    await sandbox.control('PUT', `/wabas${waba}`, { subscribedAppIds: [appId], override: callback('/waba') });
    await putNumber(sandbox.number.phoneNumberId, { override: callback('/number') });
    expect((await get(phone, { fields: 'webhook_configuration' })).body).toEqual({
      id: sandbox.number.phoneNumberId,
      webhook_configuration: {
        phone_number: `${sandbox.businessUrl}/number`,
        whatsapp_business_account: `${sandbox.businessUrl}/waba`,
        application: `${sandbox.businessUrl}/app`,
      },
    });
  });
});

describe("a number's own callback", () => {
  const override = (path: string, verify_token = 'verify-me') => ({
    webhook_configuration: { override_callback_uri: `${sandbox.businessUrl}${path}`, verify_token },
  });
  const configured = async () => (await get(phone, { fields: 'webhook_configuration' })).body['webhook_configuration'];

  it('is verified, set, used and taken away', async () => {
    expect(await sandbox.graph('POST', phone, { body: override('/own') })).toEqual({
      status: 200,
      body: { success: true },
    });
    expect(sandbox.verified).toEqual(['/own']);
    expect(await configured()).toEqual({ phone_number: `${sandbox.businessUrl}/own` });
    const { items } = await sandbox.control<{ items: { override: unknown }[] }>('GET', '/numbers');
    expect(items[0]!.override).toEqual({ callbackUrl: `${sandbox.businessUrl}/own` });
    await sandbox.control('POST', '/messages', { phoneNumberId: phone.slice(1), contactId: 'customer-a', text: 'Hi' });
    await until('the webhook', () => sandbox.received.length === 1);
    expect(sandbox.received[0]!.path).toBe('/own');
    const none = { webhook_configuration: { override_callback_uri: '' } };
    expect(await sandbox.graph('POST', phone, { body: none })).toEqual({ status: 200, body: { success: true } });
    expect(await configured()).toEqual({});
  });

  it('is taken from a form, where it is JSON', async () => {
    const form = { webhook_configuration: JSON.stringify(override('/own').webhook_configuration) };
    expect(await sandbox.graph('POST', phone, { form })).toMatchObject({ status: 200 });
    expect(await configured()).toEqual({ phone_number: `${sandbox.businessUrl}/own` });
  });

  it('stays as it was when the callback does not verify', async () => {
    expect(await sandbox.graph('POST', phone, { body: override('/own', 'wrong') })).toMatchObject({
      status: 400,
      body: { error: { code: 2200, message: expect.stringContaining('HTTP Status Code = 403') } },
    });
    const nowhere = { webhook_configuration: { override_callback_uri: 'http://127.0.0.1:9/', verify_token: 'x' } };
    expect((await sandbox.graph('POST', phone, { body: nowhere })).body.error).toMatchObject({ code: 2200 });
    expect(await configured()).toEqual({});
  });

  it.each([
    ['nothing', {}],
    ['no URL', { webhook_configuration: { override_callback_uri: 'hook', verify_token: 'x' } }],
    ['another protocol', { webhook_configuration: { override_callback_uri: 'ftp://a/', verify_token: 'x' } }],
    ['no verify token', { webhook_configuration: { override_callback_uri: 'http://127.0.0.1:9/' } }],
    [
      'a URL that is too long',
      { webhook_configuration: { override_callback_uri: `http://127.0.0.1:9/${'x'.repeat(200)}`, verify_token: 'x' } },
    ],
  ])('is not set from %s', async (_, body) => {
    expect((await sandbox.graph('POST', phone, { body })).body.error).toMatchObject({ code: 100 });
    expect(await configured()).toEqual({});
  });
});

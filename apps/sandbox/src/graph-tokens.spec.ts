import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { trySandbox, type GraphOptions, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;
let appToken: string;

beforeEach(async () => {
  sandbox = await trySandbox();
  appToken = `${sandbox.number.appId}|${sandbox.number.appSecret}`;
});
afterEach(() => sandbox.close());

const debug = (input: string, options: GraphOptions = {}) =>
  sandbox.graph('GET', '/debug_token', { token: appToken, parameters: { input_token: input }, ...options });
const putToken = (settings: object) =>
  sandbox.control('PUT', '/tokens', { accessToken: 'another', appId: sandbox.number.appId, ...settings });

describe('debug_token', () => {
  it("tells of a number's token that it is good, has both scopes and never expires", async () => {
    const expected = {
      status: 200,
      body: {
        data: {
          app_id: sandbox.number.appId,
          type: 'SYSTEM_USER',
          application: expect.any(String),
          is_valid: true,
          expires_at: 0,
          data_access_expires_at: 0,
          issued_at: expect.any(Number),
          scopes: ['whatsapp_business_messaging', 'whatsapp_business_management'],
          granular_scopes: [{ scope: 'whatsapp_business_messaging' }, { scope: 'whatsapp_business_management' }],
          user_id: expect.any(String),
        },
      },
    };
    const { accessToken } = sandbox.number;
    expect(await debug(accessToken)).toEqual(expected);
    expect(await debug(accessToken, { token: accessToken })).toEqual(expected);
    const parameters = { input_token: accessToken, access_token: appToken };
    expect(await debug('', { token: null, parameters })).toEqual(expected);
  });

  it('tells scopes, WABAs and the time of expiry', async () => {
    const expiresAt = Math.floor(sandbox.clock.nowMs / 1000) + 3600;
    await putToken({ expiresAt, scopes: ['whatsapp_business_messaging'], wabaIds: ['102290000000009'] });
    expect(await debug('another')).toMatchObject({
      body: {
        data: {
          is_valid: true,
          expires_at: expiresAt,
          scopes: ['whatsapp_business_messaging'],
          granular_scopes: [{ scope: 'whatsapp_business_messaging', target_ids: ['102290000000009'] }],
        },
      },
    });
  });

  it('tells why a token is not good', async () => {
    expect((await debug('nobody')).body['data']).toMatchObject({ is_valid: false, scopes: [], error: { code: 190 } });
    await putToken({ expiresAt: 1 });
    expect((await debug('another')).body['data']).toMatchObject({
      is_valid: false,
      error: { code: 190, subcode: 463 },
    });
    await putToken({ isValid: false, errorSubcode: 460 });
    expect((await debug('another')).body['data']).toMatchObject({
      is_valid: false,
      error: { code: 190, subcode: 460 },
    });
  });

  it("does not tell of another app's token", async () => {
    await putToken({ appId: '990000000000002' });
    const { data } = (await debug('another')).body as { data?: unknown };
    expect(data).toMatchObject({
      is_valid: false,
      error: { code: 100, message: expect.stringContaining('Viewing App') },
    });
    expect(data).not.toHaveProperty('app_id');
  });

  it.each([
    ['no token to look at', () => debug(''), 100],
    ['a dead token to look with', () => debug(sandbox.number.accessToken, { token: 'nobody' }), 190],
    ['a wrong app secret', () => debug('x', { token: `${sandbox.number.appId}|wrong` }), 190],
    ['an app that there is not', () => debug('x', { token: '1|wrong' }), 101],
  ])('refuses %s', async (_, call, code) => {
    expect((await call()).body.error).toMatchObject({ code });
  });

  it("takes the app's own secret once it was given", async () => {
    await sandbox.control('PUT', `/apps/${sandbox.number.appId}`, { appSecret: 'renewed' });
    expect((await debug('x')).body.error).toMatchObject({ code: 190 });
    expect((await debug('x', { token: `${sandbox.number.appId}|renewed` })).status).toBe(200);
  });
});

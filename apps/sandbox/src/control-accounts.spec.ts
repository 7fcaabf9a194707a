import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { trySandbox, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;

beforeEach(async () => {
  sandbox = await trySandbox();
});
afterEach(() => sandbox.close());

const callback = { callbackUrl: 'https://business.example/hook', verifyToken: 'hidden-verify-token' };

describe('control of accounts', () => {
  it('shows numbers with their defaults, and no secrets', async () => {
    const { phoneNumberId, displayPhoneNumber, verifiedName, wabaId, appId } = sandbox.number;
    expect(await sandbox.control('GET', '/numbers')).toEqual({
      items: [
        {
          phoneNumberId,
          displayPhoneNumber,
          verifiedName,
          wabaId,
          appId,
          platformType: 'CLOUD_API',
          status: 'CONNECTED',
          codeVerificationStatus: 'VERIFIED',
          qualityRating: 'GREEN',
          throughput: 'STANDARD',
          isOnBizApp: false,
          isTestNumber: false,
          override: null,
        },
      ],
    });
  });

  it("keeps a number's override until it is taken away", async () => {
    const { phoneNumberId, ...settings } = sandbox.number;
    const put = (more: object) => sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, ...more });
    expect(await put({ override: callback })).toMatchObject({ override: { callbackUrl: callback.callbackUrl } });
    expect(await put({})).toMatchObject({ override: { callbackUrl: callback.callbackUrl } });
    expect(await put({ override: null })).toMatchObject({ override: null });
  });

  it('has nothing to verify for a number without a callback', async () => {
    const path = `/numbers/${sandbox.number.phoneNumberId}/verify-webhook`;
    await expect(sandbox.control('POST', path)).rejects.toThrow(/409.*no_callback/);
  });

  it('answers a token without repeating it', async () => {
    const answer = await sandbox.control('PUT', '/tokens', { accessToken: 'hidden', appId: '1' });
    expect(answer).toEqual({
      appId: '1',
      scopes: ['whatsapp_business_messaging', 'whatsapp_business_management'],
      expiresAt: 0,
      isValid: true,
    });
  });

  it('changes of an app what it is given', async () => {
    const path = `/apps/${sandbox.number.appId}`;
    const subscription = { ...callback, fields: ['messages'] };
    expect(await sandbox.control('GET', path)).toEqual({ appId: sandbox.number.appId, subscription: null });
    const shown = { callbackUrl: callback.callbackUrl, fields: ['messages'], active: true };
    expect(await sandbox.control('PUT', path, { subscription })).toEqual({
      appId: sandbox.number.appId,
      subscription: shown,
    });
    expect(await sandbox.control('PUT', path, { appSecret: 'renewed' })).toMatchObject({ subscription: shown });
    expect(await sandbox.control('PUT', path, { subscription: null })).toMatchObject({ subscription: null });
    await expect(sandbox.control('GET', '/apps/1')).rejects.toThrow(/404/);
  });

  it('changes of a WABA what it is given', async () => {
    const { wabaId, appId, phoneNumberId } = sandbox.number;
    const path = `/wabas/${wabaId}`;
    await expect(sandbox.control('PUT', path, { override: callback })).rejects.toThrow(/422.*subscribedAppIds/);
    await sandbox.control('PUT', path, { currency: 'EUR', subscribedAppIds: [appId, '1'], override: callback });
    expect(await sandbox.control('PUT', path, { subscribedAppIds: [appId] })).toEqual({
      wabaId,
      currency: 'EUR',
      subscribedAppIds: [appId],
      override: { callbackUrl: callback.callbackUrl },
      overrides: [{ appId, callbackUrl: callback.callbackUrl }],
      phoneNumberIds: [phoneNumberId],
    });
    expect(await sandbox.control('PUT', path, { override: null })).toMatchObject({ override: null, overrides: [] });
    await expect(sandbox.control('GET', '/wabas/1')).rejects.toThrow(/404/);
  });

  it('keeps accounts over a restart', async () => {
    const { wabaId, appId, phoneNumberId } = sandbox.number;
    await sandbox.control('PUT', '/tokens', { accessToken: 'another', appId, wabaIds: [wabaId] });
    await sandbox.control('PUT', `/apps/${appId}`, {
      appSecret: 'renewed',
      subscription: { ...callback, fields: ['x'] },
    });
    await sandbox.graph('POST', `/${wabaId}/subscribed_apps`, {
      body: { override_callback_uri: `${sandbox.businessUrl}/waba`, verify_token: 'verify-me' },
    });
    await sandbox.graph('POST', `/${phoneNumberId}`, {
      body: {
        webhook_configuration: { override_callback_uri: `${sandbox.businessUrl}/own`, verify_token: 'verify-me' },
      },
    });
    const all = () =>
      Promise.all(['/numbers', `/apps/${appId}`, `/wabas/${wabaId}`].map((path) => sandbox.control('GET', path)));
    const before = await all();
    await sandbox.restart();
    expect(await all()).toEqual(before);
    expect(await sandbox.graph('GET', `/${phoneNumberId}`, { token: 'another' })).toMatchObject({ status: 200 });
    const { data } = (await sandbox.graph('GET', `/${appId}/subscriptions`, { token: `${appId}|renewed` })).body;
    expect(data).toHaveLength(1);
  });

  it('names the file of accounts that it cannot read', async () => {
    await expect(sandbox.restart('{"numbers":[{}]}')).rejects.toMatchObject({
      problems: [expect.stringContaining('sandbox-accounts.json')],
    });
    await sandbox.restart('{"numbers":[],"overrides":[],"tokens":[],"apps":[],"wabas":[]}');
  });

  it('keeps accounts on reset', async () => {
    const { wabaId, appId } = sandbox.number;
    await sandbox.graph('POST', `/${wabaId}/subscribed_apps`);
    await sandbox.control('POST', '/reset');
    expect(await sandbox.control('GET', `/wabas/${wabaId}`)).toMatchObject({ subscribedAppIds: [appId] });
    expect(await sandbox.managementCalls()).toEqual([]);
  });
});

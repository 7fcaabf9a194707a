import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { trySandbox, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;

beforeEach(async () => {
  sandbox = await trySandbox();
});
afterEach(() => sandbox.close());

describe('the journal', () => {
  it('has every management call, without a token or a value', async () => {
    const { phoneNumberId, wabaId, appId, accessToken, appSecret } = sandbox.number;
    const token = `${appId}|${appSecret}`;
    await sandbox.graph('GET', `/${wabaId}/phone_numbers`, { parameters: { limit: '7', fields: 'id' } });
    await sandbox.graph('GET', '/debug_token', {
      token: null,
      parameters: { input_token: accessToken, access_token: token },
    });
    await sandbox.graph('GET', `/${phoneNumberId}`, { token: 'nobody' });
    await sandbox.graph('POST', `/${wabaId}/subscribed_apps`, {
      body: { override_callback_uri: 'http://127.0.0.1:9/hidden', verify_token: 'hidden' },
    });
    await sandbox.graph('GET', `/${appId}/subscriptions`);
    await sandbox.graph('GET', '/1');
    const at = new Date(sandbox.clock.nowMs).toISOString();
    const line = { at, kind: 'management' };
    expect(await sandbox.managementCalls()).toEqual([
      {
        ...line,
        n: 1,
        method: 'GET',
        path: `/v26.0/${wabaId}/phone_numbers`,
        parameters: ['fields', 'limit'],
        wabaId,
        appId,
      },
      { ...line, n: 2, method: 'GET', path: '/v26.0/debug_token', parameters: ['access_token', 'input_token'], appId },
      { ...line, n: 3, method: 'GET', path: `/v26.0/${phoneNumberId}`, parameters: [], refusedWith: 190 },
      {
        ...line,
        n: 4,
        method: 'POST',
        path: `/v26.0/${wabaId}/subscribed_apps`,
        parameters: ['override_callback_uri', 'verify_token'],
        wabaId,
        appId,
        refusedWith: 2200,
      },
      { ...line, n: 5, method: 'GET', path: `/v26.0/${appId}/subscriptions`, parameters: [], appId, refusedWith: 15 },
      { ...line, n: 6, method: 'GET', path: '/v26.0/1', parameters: [], appId, refusedWith: 100 },
    ]);
    const all = JSON.stringify(await sandbox.control('GET', '/journal'));
    for (const hidden of [accessToken, appSecret, 'nobody', 'hidden']) expect(all).not.toContain(hidden);
  });

  it('keeps messages and the rest apart, also over a restart', async () => {
    const { phoneNumberId } = sandbox.number;
    await sandbox.control('POST', '/messages', { phoneNumberId, contactId: 'customer-a' });
    await sandbox.sendText('+12025550101');
    await sandbox.graph('GET', `/${phoneNumberId}`);
    await sandbox.restart();
    expect(await sandbox.control('GET', '/journal?kind=text')).toMatchObject({
      items: [{ kind: 'text', n: 1 }],
      last: 2,
    });
    expect(await sandbox.managementCalls()).toMatchObject([{ n: 2 }]);
  });
});

describe('faults', () => {
  it('hit management calls alone when they name them', async () => {
    const { phoneNumberId } = sandbox.number;
    await sandbox.control('POST', '/messages', { phoneNumberId, contactId: 'customer-a' });
    await sandbox.control('PUT', '/faults', { kinds: ['management'], errorCode: 80007 });
    expect(await sandbox.sendText('+12025550101')).toMatchObject({ status: 200 });
    expect(await sandbox.graph('GET', `/${phoneNumberId}`)).toMatchObject({
      status: 429,
      body: { error: { code: 80007 } },
    });
    await sandbox.control('PUT', '/faults', { kinds: ['management'], errorCode: 4, errorSubcode: 2446079 });
    expect((await sandbox.graph('GET', `/${phoneNumberId}`)).body.error).toMatchObject({
      code: 4,
      error_subcode: 2446079,
    });
    expect((await sandbox.managementCalls()).map(({ refusedWith }) => refusedWith)).toEqual([80007, 4]);
  });

  it('hit one edge alone when they name it', async () => {
    const waba = `/${sandbox.number.wabaId}`;
    await sandbox.control('PUT', '/faults', {
      pathEndsWith: '/subscribed_apps',
      graphErrorStatus: 500,
      forNextCalls: 1,
    });
    expect(await sandbox.graph('GET', waba, { parameters: { fields: 'name' } })).toMatchObject({ status: 200 });
    expect(await sandbox.graph('GET', `${waba}/subscribed_apps`, { parameters: { x: 'y' } })).toMatchObject({
      status: 500,
    });
    expect(await sandbox.graph('GET', `${waba}/subscribed_apps`)).toMatchObject({ status: 200 });
  });

  it('cut a management call before or after it was taken', async () => {
    const path = `/${sandbox.number.wabaId}/subscribed_apps`;
    await sandbox.control('PUT', '/faults', { kinds: ['management'], cutBeforeAccept: 1 });
    await expect(sandbox.graph('POST', path)).rejects.toThrow();
    expect(await sandbox.managementCalls()).toEqual([]);
    await sandbox.control('PUT', '/faults', { kinds: ['management'], cutAfterAccept: 1 });
    await expect(sandbox.graph('POST', path)).rejects.toThrow();
    expect(await sandbox.managementCalls()).toHaveLength(1);
    await sandbox.control('DELETE', '/faults');
    expect((await sandbox.graph('GET', path)).body['data']).toHaveLength(1);
  });
});

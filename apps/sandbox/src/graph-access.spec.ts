import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { proofOf, trySandbox, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;
let phone: string;
let waba: string;

beforeEach(async () => {
  sandbox = await trySandbox();
  phone = `/${sandbox.number.phoneNumberId}`;
  waba = `/${sandbox.number.wabaId}`;
});
afterEach(() => sandbox.close());

const putToken = (settings: object) =>
  sandbox.control('PUT', '/tokens', { accessToken: 'another', appId: sandbox.number.appId, ...settings });

describe('a Graph call', () => {
  it("is taken with a number's token, in the header or as a parameter", async () => {
    expect(await sandbox.graph('GET', phone)).toMatchObject({ status: 200 });
    const parameters = { access_token: sandbox.number.accessToken };
    expect(await sandbox.graph('GET', phone, { token: null, parameters })).toMatchObject({ status: 200 });
  });

  it('is refused without a token and with an unknown one', async () => {
    expect(await sandbox.graph('GET', phone, { token: null })).toMatchObject({
      status: 401,
      body: { error: { code: 104 } },
    });
    const unknown = await sandbox.graph('GET', phone, { token: 'nobody' });
    expect(unknown).toMatchObject({ status: 401, body: { error: { code: 190, type: 'OAuthException' } } });
    expect(unknown.body.error).not.toHaveProperty('error_subcode');
  });

  it.each([
    [458, 'not authorized application 990000000000001'],
    [460, 'changed their password'],
    [467, 'logged out'],
  ])('with an invalid token is refused with 190 and subcode %d', async (errorSubcode, text) => {
    await putToken({ isValid: false, errorSubcode });
    const { status, body } = await sandbox.graph('GET', phone, { token: 'another' });
    expect([status, body.error.code, body.error['error_subcode']]).toEqual([401, 190, errorSubcode]);
    expect(body.error['message']).toContain(text);
    expect((await sandbox.sendText('+12025550101', { token: 'another' })).body.error).toMatchObject({ code: 190 });
  });

  it('is taken until its token expires, and refused with subcode 463 from then on', async () => {
    await putToken({ expiresAt: Math.floor(sandbox.clock.nowMs / 1000) + 60 });
    expect(await sandbox.graph('GET', phone, { token: 'another' })).toMatchObject({ status: 200 });
    sandbox.clock.nowMs += 60_000;
    expect((await sandbox.graph('GET', phone, { token: 'another' })).body.error).toMatchObject({
      code: 190,
      error_subcode: 463,
    });
  });

  it("makes a number's own token a known one when it is put", async () => {
    await putToken({ accessToken: sandbox.number.accessToken, isValid: false });
    expect((await sandbox.graph('GET', phone)).body.error).toMatchObject({ code: 190 });
  });

  it('needs the scope of what it does', async () => {
    await putToken({ scopes: ['whatsapp_business_messaging'] });
    for (const path of [phone, waba, `${waba}/phone_numbers`, `${waba}/subscribed_apps`]) {
      expect(await sandbox.graph('GET', path, { token: 'another' })).toMatchObject({
        status: 403,
        body: { error: { code: 10 } },
      });
    }
    await sandbox.control('POST', '/messages', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
    });
    expect(await sandbox.sendText('+12025550101', { token: 'another' })).toMatchObject({ status: 200 });
    await putToken({ scopes: ['whatsapp_business_management'] });
    expect(await sandbox.graph('GET', phone, { token: 'another' })).toMatchObject({ status: 200 });
    expect((await sandbox.sendText('+12025550101', { token: 'another' })).body.error).toMatchObject({ code: 10 });
  });

  it('reaches the WABAs that its token was given, and no other', async () => {
    await putToken({ wabaIds: ['102290000000009'] });
    for (const path of [phone, waba, `${waba}/phone_numbers`]) {
      expect(await sandbox.graph('GET', path, { token: 'another' })).toMatchObject({
        status: 403,
        body: { error: { code: 200 } },
      });
    }
    expect((await sandbox.sendText('+12025550101', { token: 'another' })).body.error).toMatchObject({ code: 200 });
    await putToken({ wabaIds: [sandbox.number.wabaId] });
    expect(await sandbox.graph('GET', waba, { token: 'another' })).toMatchObject({ status: 200 });
  });

  it("does not reach another app's WABA unless its app is subscribed to it", async () => {
    await putToken({ appId: '990000000000002' });
    expect((await sandbox.graph('GET', waba, { token: 'another' })).body.error).toMatchObject({ code: 200 });
    await sandbox.control('PUT', `/wabas${waba}`, { subscribedAppIds: ['990000000000002'] });
    expect(await sandbox.graph('GET', waba, { token: 'another' })).toMatchObject({ status: 200 });
  });

  it('about an unknown object is refused with 100 and subcode 33', async () => {
    for (const path of ['/1', '/1/phone_numbers', '/1/subscribed_apps']) {
      expect(await sandbox.graph('GET', path)).toMatchObject({
        status: 400,
        body: { error: { code: 100, error_subcode: 33, message: expect.stringContaining("'1' does not exist") } },
      });
    }
  });

  it('about no edge that there is says so', async () => {
    expect((await sandbox.graph('GET', `${waba}/message_templates`)).body.error).toMatchObject({ code: 2500 });
  });

  it('is refused with a proof that is not of its app, wherever it is given', async () => {
    const { accessToken, appSecret } = sandbox.number;
    const right = proofOf(accessToken, appSecret);
    expect(await sandbox.graph('GET', phone, { parameters: { appsecret_proof: right } })).toMatchObject({
      status: 200,
    });
    const wrong = { appsecret_proof: proofOf(accessToken, 'secret-of-another-app') };
    const refused = {
      status: 400,
      body: { error: { code: 100, message: 'Invalid appsecret_proof provided in the API argument' } },
    };
    expect(await sandbox.graph('GET', phone, { parameters: wrong })).toMatchObject(refused);
    expect(await sandbox.sendText('+12025550101', { parameters: wrong })).toMatchObject(refused);
    expect(await sandbox.graph('POST', `${waba}/subscribed_apps`, { form: wrong })).toMatchObject(refused);
    await sandbox.control('PUT', `/apps/${sandbox.number.appId}`, { appSecret: 'secret-of-another-app' });
    expect(await sandbox.graph('GET', phone, { parameters: wrong })).toMatchObject({ status: 200 });
    expect(await sandbox.graph('GET', phone, { parameters: { appsecret_proof: right } })).toMatchObject(refused);
  });
});

describe('a send', () => {
  it('from a number that is not registered is refused with 133010', async () => {
    const { phoneNumberId, ...settings } = sandbox.number;
    await sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, platformType: 'NOT_APPLICABLE' });
    expect(await sandbox.sendText('+12025550101')).toMatchObject({ status: 400, body: { error: { code: 133010 } } });
  });

  it('from a test number to somebody who is not on its list is refused, whatever the limits say', async () => {
    const { phoneNumberId, ...settings } = sandbox.number;
    await sandbox.control('PUT', '/limits', { unknownRecipient: 'undeliverable' });
    expect(await sandbox.sendText('+12025550909')).toMatchObject({ status: 200 });
    await sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, isTestNumber: true });
    expect((await sandbox.sendText('+12025550909')).body.error).toMatchObject({ code: 131030 });
  });

  it('from a number that is also on a phone is held to 20 a second', async () => {
    const { phoneNumberId, ...settings } = sandbox.number;
    await sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, isOnBizApp: true });
    await sandbox.control('PUT', '/limits', { pairRate: false });
    await sandbox.control('POST', '/messages', { phoneNumberId, contactId: 'customer-a' });
    const codes = [];
    for (let call = 0; call < 21; call += 1) codes.push((await sandbox.sendText('+12025550101')).body.error?.code);
    expect(codes).toEqual([...Array<undefined>(20).fill(undefined), 130429]);
  });

  it("with the token of another number is refused, as long as it is only that number's", async () => {
    const { phoneNumberId: _, ...settings } = sandbox.number;
    await sandbox.control('PUT', '/numbers/106540000000002', { ...settings, accessToken: 'another' });
    expect((await sandbox.sendText('+12025550101', { token: 'another' })).body.error).toMatchObject({
      code: 100,
      error_subcode: 33,
    });
    await putToken({});
    await sandbox.control('POST', '/messages', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
    });
    expect(await sandbox.sendText('+12025550101', { token: 'another' })).toMatchObject({ status: 200 });
  });
});

import { createHash } from 'node:crypto';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { trySandbox, until, type TriedSandbox } from './try-sandbox.ts';

let sandbox: TriedSandbox;

beforeEach(async () => {
  sandbox = await trySandbox();
  const { phoneNumberId, ...settings } = sandbox.number;
  const callback = { callbackUrl: `${sandbox.businessUrl}/hook`, verifyToken: 'verify-me' };
  await sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, ...callback });
});
afterEach(() => sandbox.close());

/** A contact sends a photo: what the webhook says of it. */
async function photo(more: object = {}): Promise<{ id: string; sha256: string; mime_type: string }> {
  const message = { phoneNumberId: sandbox.number.phoneNumberId, contactId: 'customer-a', type: 'image', ...more };
  const before = sandbox.received.length;
  await sandbox.control('POST', '/messages', message);
  await until('the webhook', () => sandbox.received.length > before);
  const [{ image }] = sandbox.received.at(-1)!.body.entry[0]!.changes[0]!.value.messages as [{ image: unknown }];
  return image as { id: string; sha256: string; mime_type: string };
}
const download = (url: unknown, token: string | null = sandbox.number.accessToken) =>
  fetch(String(url), token === null ? {} : { headers: { authorization: `Bearer ${token}` } });
const addressOf = async (id: string) => (await sandbox.graph('GET', `/${id}`)).body['url'];

describe('a file that a contact sent', () => {
  it('can be looked up and fetched', async () => {
    const { id, sha256 } = await photo();
    const { status, body } = await sandbox.graph('GET', `/${id}`);
    expect([status, body]).toEqual([
      200,
      {
        messaging_product: 'whatsapp',
        url: expect.stringMatching(/^http:\/\/127\.0\.0\.1:\d+\/media\//),
        mime_type: 'image/jpeg',
        sha256: Buffer.from(sha256, 'base64').toString('hex'),
        file_size: expect.stringMatching(/^\d+$/),
        id,
      },
    ]);
    const response = await download(body['url']);
    const bytes = Buffer.from(await response.arrayBuffer());
    expect([response.status, response.headers.get('content-type')]).toEqual([200, 'image/jpeg']);
    expect(createHash('sha256').update(bytes).digest('base64')).toBe(sha256);
    expect(String(bytes.length)).toBe(body['file_size']);
  });

  it('has an address that is good for five minutes', async () => {
    const { id } = await photo();
    const url = await addressOf(id);
    sandbox.clock.nowMs += 299_000;
    expect((await download(url)).status).toBe(200);
    sandbox.clock.nowMs += 2_000;
    expect((await download(url)).status).toBe(404);
    expect((await download(await addressOf(id))).status).toBe(200);
  });

  it('is not given out without a good token, nor under another address', async () => {
    const { id } = await photo();
    const url = String(await addressOf(id));
    await sandbox.control('PUT', '/tokens', { accessToken: 'foreign', appId: '990000000000002' });
    await sandbox.control('PUT', '/tokens', { accessToken: 'dead', appId: sandbox.number.appId, isValid: false });
    for (const token of [null, 'nobody', 'foreign', 'dead']) expect((await download(url, token)).status).toBe(404);
    expect((await download(url.replace(/hash=.{4}/, 'hash=AAAA'))).status).toBe(404);
    expect((await download(url.replace(id, '1'))).status).toBe(404);
    expect((await sandbox.graph('GET', `/${id}`, { token: 'foreign' })).body.error).toMatchObject({
      code: 100,
      error_subcode: 33,
    });
  });

  it('is of one number', async () => {
    const { id } = await photo();
    const ask = (phone_number_id: string) => sandbox.graph('GET', `/${id}`, { parameters: { phone_number_id } });
    expect((await ask(sandbox.number.phoneNumberId)).status).toBe(200);
    expect((await ask('1')).body.error).toMatchObject({ code: 100, error_subcode: 33 });
  });

  it('is kept for seven days', async () => {
    const { id } = await photo();
    sandbox.clock.nowMs += 604_800_001;
    expect((await sandbox.graph('GET', `/${id}`)).body.error).toMatchObject({ code: 100, error_subcode: 33 });
  });

  it('may be given with its bytes', async () => {
    const content = Buffer.from('a picture').toString('base64');
    const given = { phoneNumberId: sandbox.number.phoneNumberId, mimeType: 'image/png', contentBase64: content };
    const { sha256 } = await sandbox.control('PUT', '/media/77', given);
    await photo({ content: { id: '77', mime_type: 'image/png', sha256 } });
    const response = await download(await addressOf('77'));
    expect([response.headers.get('content-type'), await response.text()]).toEqual(['image/png', 'a picture']);
  });

  it('is known after a restart', async () => {
    const { id } = await photo();
    await sandbox.restart();
    expect((await download(await addressOf(id))).status).toBe(200);
  });
});

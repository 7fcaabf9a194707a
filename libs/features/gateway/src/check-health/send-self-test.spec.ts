import { createHmac } from 'node:crypto';
import { createServer, type RequestListener, type Server } from 'node:http';
import { type AddressInfo } from 'node:net';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { afterEach, describe, expect, it } from '@jest/globals';
import { sendSelfTest } from './send-self-test.ts';

const servers: Server[] = [];
async function serve(listener: RequestListener): Promise<string> {
  const server = createServer(listener);
  servers.push(server);
  await new Promise<void>((resolve) => server.listen(0, '127.0.0.1', resolve));
  return `127.0.0.1:${String((server.address() as AddressInfo).port)}`;
}

afterEach(async () => {
  await closeOperatorConnections();
  for (const server of servers.splice(0)) {
    server.closeAllConnections();
    await new Promise((resolve) => server.close(resolve));
  }
});

const answering =
  (status: number, body = '', headers: Record<string, string> = {}): RequestListener =>
  (_request, response) =>
    response.writeHead(status, headers).end(body);

describe('a delivery of our own', () => {
  it('is signed as Meta signs, marked, and another one each time', async () => {
    const seen: { body: string; headers: NodeJS.Dict<string | string[]> }[] = [];
    const host = await serve((request, response) => {
      let body = '';
      request.on('data', (chunk: Buffer) => (body += chunk.toString()));
      request.on('end', () => {
        seen.push({ body, headers: request.headers });
        response.end();
      });
    });
    expect(await sendSelfTest(`http://${host}/`, 'secret')).toMatchObject({ hop: null, httpStatus: 200 });
    expect(await sendSelfTest(`http://${host}/`, undefined)).toMatchObject({ hop: null });
    const [signed, unsigned] = seen;
    const hex = createHmac('sha256', 'secret')
      .update(signed?.body ?? '')
      .digest('hex');
    expect(signed?.headers).toMatchObject({ 'x-hub-signature-256': `sha256=${hex}`, 'answerline-self-test': '1' });
    expect(unsigned?.headers).not.toHaveProperty('x-hub-signature-256');
    expect(JSON.parse(signed?.body ?? '')).toMatchObject({ object: 'answerline_self_test' });
    expect(signed?.body).not.toBe(unsigned?.body);
  });

  it.each<[string, RequestListener, object]>([
    [
      'a redirect',
      answering(308, '', { location: 'https://elsewhere.example/' }),
      { hop: 'answer', code: 'callback_redirected', httpStatus: 308 },
    ],
    [
      'a page',
      answering(200, '<h1>Welcome</h1>'),
      { hop: 'answer', code: 'callback_answered_by_other', httpStatus: 200 },
    ],
    ['a huge page', answering(200, 'x'.repeat(200_000)), { hop: 'answer', code: 'callback_answered_by_other' }],
    ['a firewall', answering(403, 'Are you human?'), { hop: 'answer', code: 'callback_blocked', httpStatus: 403 }],
    ['a login', answering(401, 'Login'), { hop: 'answer', code: 'callback_blocked', httpStatus: 401 }],
    ['another server', answering(404, 'Not found'), { hop: 'answer', code: 'callback_wrong_answer', httpStatus: 404 }],
    [
      'a proxy without a gateway behind it',
      answering(502, 'Bad gateway'),
      { hop: 'answer', code: 'callback_wrong_answer', httpStatus: 502 },
    ],
    [
      'our door that does not accept the signature',
      answering(401),
      { hop: 'signature', code: 'callback_signature_refused', httpStatus: 401 },
    ],
    ['our door without NATS', answering(503), { hop: 'storage', code: 'callback_not_stored', httpStatus: 503 }],
    [
      'a connection that is cut',
      (request) => void request.socket.destroy(),
      { hop: 'answer', code: 'callback_no_answer', httpStatus: null },
    ],
  ])('ends at %s', async (_what, listener, outcome) => {
    expect(await sendSelfTest(`http://${await serve(listener)}/`, 'secret')).toMatchObject(outcome);
  });

  it('ends at TLS where none is spoken', async () => {
    const host = await serve(answering(200));
    expect(await sendSelfTest(`https://${host}/`, 'secret')).toEqual({
      hop: 'tls',
      code: 'callback_tls_failed',
      httpStatus: null,
    });
  });

  it('ends at a port where nobody listens', async () => {
    const host = await serve(answering(200));
    await new Promise((resolve) => servers.pop()?.close(resolve));
    expect(await sendSelfTest(`http://${host}/`, 'secret')).toMatchObject({
      hop: 'connect',
      code: 'callback_unreachable',
    });
  });

  it('ends at a name that is none', async () => {
    // RFC 6761: there is never an address under .invalid.
    expect(await sendSelfTest('http://callback.invalid/', 'secret')).toMatchObject({
      hop: 'dns',
      code: 'callback_name_unknown',
    });
  }, 30_000);
});

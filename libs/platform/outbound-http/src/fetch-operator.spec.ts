import { once } from 'node:events';
import { createServer as createHttpServer, type IncomingMessage, type RequestListener } from 'node:http';
import { createServer as createTcpServer, type AddressInfo, type Server, type Socket } from 'node:net';
import { text } from 'node:stream/consumers';
import { brotliCompressSync, gzipSync } from 'node:zlib';
import { afterAll, afterEach, describe, expect, it } from '@jest/globals';
import { Agent, buildConnector } from 'undici';
import { exchange } from './exchange.ts';
import { closeOperatorConnections, fetchOperator, streamOperator, type OperatorRequest } from './fetch-operator.ts';
import { OutboundError } from './outbound-error.ts';

const servers: Server[] = [];
const sockets = new Set<Socket>();
async function listen(server: Server): Promise<string> {
  servers.push(server);
  server.on('connection', (socket: Socket) => sockets.add(socket));
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  return `127.0.0.1:${(server.address() as AddressInfo).port}`;
}
const http = async (listener: RequestListener) => `http://${await listen(createHttpServer(listener))}`;
const tcp = (onSocket: (socket: Socket) => void) => listen(createTcpServer(onSocket));

afterEach(() => {
  servers.splice(0).forEach((server) => server.close());
  sockets.forEach((socket) => socket.destroy());
  sockets.clear();
});
afterAll(closeOperatorConnections);

const get = (url: string, more: Partial<OperatorRequest> = {}) =>
  fetchOperator(url, { timeoutMs: 5_000, maxBytes: 1_000, ...more });
const openStream = (url: string, more: Partial<OperatorRequest> = {}) =>
  streamOperator(url, { timeoutMs: 5_000, maxBytes: 1_000, ...more });
const failureOf = async (request: Promise<unknown>) => {
  const error: unknown = await request.then(
    () => 'answered',
    (reason: unknown) => reason,
  );
  return error instanceof OutboundError ? [error.code, error.delivery, error.kind] : error;
};
const bodyOf = async (request: IncomingMessage) => {
  const chunks: Buffer[] = [];
  for await (const chunk of request) chunks.push(chunk as Buffer);
  return Buffer.concat(chunks).toString();
};

describe('fetchOperator', () => {
  it('sends method, path, headers and body, and returns status, headers and body', async () => {
    const url = await http((request, response) => {
      void bodyOf(request).then((body) => {
        response.writeHead(201, { 'x-answer': 'yes' });
        response.end(`${request.method} ${request.url} ${String(request.headers['x-ask'])} ${body}`);
      });
    });
    const response = await get(`${url}/a?b=c`, { method: 'POST', headers: { 'x-ask': 'why' }, body: 'hello' });
    expect(response.status).toBe(201);
    expect(response.headers['x-answer']).toBe('yes');
    expect(response.body.toString()).toBe('POST /a?b=c why hello');
  });

  it.each([301, 400, 404, 429, 500, 503])('takes status %d as an answer', async (status) => {
    const url = await http((_request, response) => response.writeHead(status, { location: '/x' }).end('{}'));
    expect((await get(url)).status).toBe(status);
  });

  it('uses connections again', async () => {
    let connections = 0;
    const server = createHttpServer((_request, response) => response.end('x'));
    server.on('connection', () => (connections += 1));
    const url = `http://${await listen(server)}`;
    for (let turn = 0; turn < 10; turn += 1) await get(url);
    // undici may open a second one while the first is still finishing
    expect(connections).toBeLessThanOrEqual(2);
  });

  it('waits for the answer after an informational one', async () => {
    const url = await http((_request, response) => {
      response.writeProcessing();
      response.end('x');
    });
    expect((await get(url)).status).toBe(200);
  });

  it.each([
    ['gzip', gzipSync('hello')],
    ['br', brotliCompressSync('hello')],
  ])('decompresses %s', async (encoding, body) => {
    const url = await http((_request, response) => response.writeHead(200, { 'content-encoding': encoding }).end(body));
    expect((await get(url)).body.toString()).toBe('hello');
  });

  it.each([
    ['ftp://127.0.0.1/', {}],
    ['nonsense', {}],
    ['http://127.0.0.1/', { headers: { 'x-a': 'line\nbreak' } }],
  ])('refuses %s with %j as a bug of ours', async (url, more) => {
    await expect(get(url, more)).rejects.toMatchObject({ kind: 'unexpected', code: 'outbound_request_invalid' });
  });
});

describe('a request that failed before it was written is not_sent', () => {
  it('when the connection is refused', async () => {
    const address = await tcp(() => {});
    await new Promise((resolve) => servers.splice(0)[0]?.close(resolve));
    expect(await failureOf(get(`http://${address}/`))).toEqual(['outbound_refused', 'not_sent', 'transient']);
  });

  it('when the name has no address', async () => {
    // .invalid never resolves (RFC 6761 6.4)
    const [code, delivery] = (await failureOf(get('http://answerline.invalid/'))) as string[];
    expect([code, delivery]).toEqual(['outbound_dns_failed', 'not_sent']);
  });

  it('when the other side does not speak TLS', async () => {
    const address = await tcp((socket) => socket.on('data', () => socket.end('HTTP/1.1 400 Bad Request\r\n\r\n')));
    expect(await failureOf(get(`https://${address}/`))).toEqual(['outbound_tls_failed', 'not_sent', 'transient']);
  });

  it('when the connection is cut during the TLS handshake', async () => {
    const address = await tcp((socket) => socket.on('data', () => socket.resetAndDestroy()));
    const [, delivery] = (await failureOf(get(`https://${address}/`))) as string[];
    expect(delivery).toBe('not_sent');
  });

  it('when the TLS handshake hangs until the time limit', async () => {
    const address = await tcp(() => {});
    const limits = [() => ({ timeoutMs: 100 }), () => ({ startBy: performance.now() + 100 })];
    for (const limit of limits) {
      expect(await failureOf(get(`https://${address}/`, limit()))).toEqual([
        'outbound_timeout',
        'not_sent',
        'transient',
      ]);
    }
  });

  it('when it was called off before it began, and then it never goes out', async () => {
    let requests = 0;
    const url = await http((_request, response) => {
      requests += 1;
      response.end('x');
    });
    expect(await failureOf(get(url, { signal: AbortSignal.abort() }))).toEqual([
      'outbound_aborted',
      'not_sent',
      'transient',
    ]);
    const controller = new AbortController();
    const failure = failureOf(get(url, { signal: controller.signal }));
    controller.abort(); // while the connection is being made
    expect(await failure).toEqual(['outbound_aborted', 'not_sent', 'transient']);
    await get(url);
    expect(requests).toBe(1);
  });

  it('when its process was halted until it was too late to begin, and then it never goes out', async () => {
    let requests = 0;
    const url = await http((_request, response) => {
      requests += 1;
      response.end('x');
    });
    const connect = buildConnector({});
    const halted = new Agent({
      // The connection is there when the process goes on, and is heard of before any timer.
      connect: (options, callback) => {
        connect(options, (...connected) => {
          Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 150);
          callback(...connected);
        });
      },
    });
    const started = performance.now();
    const request = exchange(halted, {
      url: new URL(url),
      method: 'POST',
      headers: {},
      body: 'x',
      timeoutMs: 5_000,
      startBy: started + 100,
      maxBytes: 1_000,
      signal: undefined,
    });
    expect(await failureOf(request)).toEqual(['outbound_timeout', 'not_sent', 'transient']);
    await halted.close();
    expect(requests).toBe(0);
  });
});

describe('a request that failed after it was written is unknown', () => {
  it('when no answer comes in time', async () => {
    const url = await http(() => {});
    expect(await failureOf(get(url, { timeoutMs: 100 }))).toEqual(['outbound_timeout', 'unknown', 'transient']);
  });

  it('when the answer does not end in time', async () => {
    const url = await http((_request, response) => response.write('half'));
    expect(await failureOf(get(url, { timeoutMs: 100 }))).toEqual(['outbound_timeout', 'unknown', 'transient']);
  });

  it.each([
    ['closed', (socket: Socket) => void socket.end()],
    ['reset', (socket: Socket) => void socket.resetAndDestroy()],
  ])('when the connection is %s', async (_what, cut) => {
    const address = await tcp((socket) => socket.on('data', () => cut(socket)));
    expect(await failureOf(get(`http://${address}/`, { method: 'POST', body: 'x' }))).toEqual([
      'outbound_cut',
      'unknown',
      'transient',
    ]);
  });

  it('when the answer is cut', async () => {
    const address = await tcp((socket) =>
      socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')),
    );
    const [, delivery] = (await failureOf(get(`http://${address}/`))) as string[];
    expect(delivery).toBe('unknown');
  });

  it('when a kept connection turns out to be closed', async () => {
    let requests = 0;
    const url = await http((request, response) => {
      requests += 1;
      if (requests === 1) response.end('x');
      else request.socket.destroy();
    });
    await get(url);
    expect(await failureOf(get(url, { method: 'POST', body: 'x' }))).toEqual(['outbound_cut', 'unknown', 'transient']);
    expect(requests).toBe(2);
  });

  it.each([
    ['not HTTP', 'SSH-2.0-OpenSSH\r\n'],
    ['bad HTTP', 'HTTP/1.1 200 OK\r\ncontent-length: x\r\n\r\n'],
    ['too long a head', `HTTP/1.1 200 OK\r\nx: ${'x'.repeat(20_000)}\r\n\r\n`],
  ])('when the answer is %s', async (_what, text) => {
    const address = await tcp((socket) => socket.on('data', () => socket.end(text)));
    expect(await failureOf(get(`http://${address}/`))).toEqual(['outbound_response_invalid', 'unknown', 'transient']);
  });

  it('when it is called off', async () => {
    const controller = new AbortController();
    const url = await http(() => controller.abort());
    expect(await failureOf(get(url, { signal: controller.signal }))).toEqual([
      'outbound_aborted',
      'unknown',
      'transient',
    ]);
  });

  it.each([
    ['as announced', { 'content-length': '2000' }, Buffer.alloc(2_000)],
    ['as it comes', {}, Buffer.alloc(2_000)],
    ['after decompression', { 'content-encoding': 'gzip' }, gzipSync(Buffer.alloc(2_000))],
  ])('when the answer is too large %s', async (_what, headers, body) => {
    const url = await http((_request, response) => response.writeHead(200, headers).end(body));
    expect(await failureOf(get(url))).toEqual(['outbound_response_too_large', 'unknown', 'transient']);
  });

  it.each([
    ['an unknown encoding', 'compress', Buffer.from('x')],
    ['a broken encoding', 'gzip', Buffer.from('not gzip')],
  ])('when the answer has %s', async (_what, encoding, body) => {
    const url = await http((_request, response) => response.writeHead(200, { 'content-encoding': encoding }).end(body));
    expect(await failureOf(get(url))).toEqual(['outbound_response_invalid', 'unknown', 'transient']);
  });
});

describe('streamOperator', () => {
  it('gives the head at once and the body as it comes', async () => {
    const step = Promise.withResolvers<void>();
    const url = await http((_request, response) => {
      response.writeHead(207, { 'x-answer': 'yes' });
      response.write('first ');
      void step.promise.then(() => response.end('second'));
    });
    const { status, headers, body } = await openStream(url, { method: 'POST', body: 'x' });
    expect([status, headers['x-answer']]).toEqual([207, 'yes']);
    const reader = body.getReader();
    expect(Buffer.from((await reader.read()).value ?? []).toString()).toBe('first ');
    step.resolve();
    reader.releaseLock();
    expect(await text(body)).toBe('second');
  });

  it('keeps to the limits until the last byte', async () => {
    const hangs = await openStream(await http((_request, response) => response.write('half')), { timeoutMs: 100 });
    expect(await failureOf(text(hangs.body))).toEqual(['outbound_timeout', 'unknown', 'transient']);

    const isLarge = await openStream(await http((_request, response) => response.write(Buffer.alloc(2_000))));
    expect(await failureOf(text(isLarge.body))).toEqual(['outbound_response_too_large', 'unknown', 'transient']);

    const controller = new AbortController();
    const calledOff = await openStream(await http((_request, response) => response.write('half')), {
      signal: controller.signal,
    });
    const failure = failureOf(text(calledOff.body));
    controller.abort();
    expect(await failure).toEqual(['outbound_aborted', 'unknown', 'transient']);
  });

  it('ends with an error when the body is cut', async () => {
    const address = await tcp((socket) =>
      socket.on('data', () => socket.end('HTTP/1.1 200 OK\r\ncontent-length: 100\r\n\r\nhalf')),
    );
    const { body } = await openStream(`http://${address}/`);
    const [, delivery] = (await failureOf(text(body))) as string[];
    expect(delivery).toBe('unknown');
  });

  it('refuses what comes without a head, and what is compressed', async () => {
    const address = await tcp((socket) => socket.on('data', () => socket.resetAndDestroy()));
    expect(await failureOf(openStream(`http://${address}/`))).toEqual(['outbound_cut', 'unknown', 'transient']);
    const url = await http((_request, response) =>
      response.writeHead(200, { 'content-encoding': 'gzip' }).end(gzipSync('hello')),
    );
    expect(await failureOf(openStream(url))).toEqual(['outbound_response_invalid', 'unknown', 'transient']);
  });

  it('ends the request when its reader leaves', async () => {
    const closed = Promise.withResolvers<void>();
    const url = await http((_request, response) => {
      response.write('half');
      response.on('close', () => closed.resolve());
    });
    const { body } = await openStream(url);
    await body.cancel();
    await closed.promise;
  });
});

it('an error names no URL, header or body', async () => {
  const url = await http(() => {});
  const error: unknown = await get(`${url}/planted?token=planted`, {
    timeoutMs: 50,
    method: 'POST',
    headers: { authorization: 'planted' },
    body: 'planted',
  }).catch((reason: unknown) => reason);
  expect(error).toBeInstanceOf(OutboundError);
  expect(`${String(error)} ${JSON.stringify(error)}`).not.toContain('planted');
});

import { createHmac, randomUUID } from 'node:crypto';
import { once } from 'node:events';
import { connect, type Socket } from 'node:net';
import { percentile } from './figures.ts';
import { processOptions } from './process-options.ts';

/** What the load generator of bench/webhook.ts takes. */
export interface WebhookLoad {
  readonly url: string;
  readonly appSecret: string;
  readonly connections: number;
  readonly seconds: number;
  /** Requests that are made ready; the run ends early when they are used up. */
  readonly requests: number;
}

/** What it prints as JSON. */
export interface WebhookLoadResult {
  readonly acknowledged: number;
  readonly refused: number;
  readonly seconds: number;
  readonly p50Ms: number;
  readonly p99Ms: number;
}

/**
 * Posts unique signed bodies over keep-alive connections, one request at a time on each, written by hand onto the socket: an
 * HTTP client would take more of the machine than the door that is measured.
 */
async function run(load: WebhookLoad): Promise<WebhookLoadResult> {
  const url = new URL(load.url);
  const requests = Array.from({ length: load.requests }, () => signedRequest(url, load.appSecret));
  const sockets = await Promise.all(
    Array.from({ length: load.connections }, async () => {
      const socket = connect({ host: url.hostname, port: Number(url.port), noDelay: true });
      await once(socket, 'connect');
      return socket;
    }),
  );
  const timesMs: number[] = [];
  let refused = 0;
  const startedAt = performance.now();
  const endAt = startedAt + load.seconds * 1000;
  await Promise.all(
    sockets.map(async (socket) => {
      for (let next = requests.pop(); next && performance.now() < endAt; next = requests.pop()) {
        const sentAt = performance.now();
        const status = await exchange(socket, next);
        timesMs.push(performance.now() - sentAt);
        if (status !== 200) refused += 1;
      }
    }),
  );
  const seconds = (performance.now() - startedAt) / 1000;
  for (const socket of sockets) socket.destroy();
  return {
    acknowledged: timesMs.length - refused,
    refused,
    seconds,
    p50Ms: percentile(timesMs, 0.5),
    p99Ms: percentile(timesMs, 0.99),
  };
}

/** A text message as Meta sends it, about 1 kB. */
function signedRequest(url: URL, appSecret: string): Buffer {
  const from = '15550100042';
  const message = {
    from,
    id: `wamid.${randomUUID()}`,
    timestamp: '1795000000',
    type: 'text',
    text: { body: 'Do you have the rye bread on Saturdays, and until when can I come by? '.repeat(8).trim() },
  };
  const value = {
    messaging_product: 'whatsapp',
    metadata: { display_phone_number: '15550100199', phone_number_id: '106540352242922' },
    contacts: [{ profile: { name: 'Customer A' }, wa_id: from }],
    messages: [message],
  };
  const body = JSON.stringify({
    object: 'whatsapp_business_account',
    entry: [{ id: '102290129340398', changes: [{ value, field: 'messages' }] }],
  });
  const head = [
    `POST ${url.pathname} HTTP/1.1`,
    `host: ${url.host}`,
    'content-type: application/json',
    `content-length: ${Buffer.byteLength(body)}`,
    `x-hub-signature-256: sha256=${createHmac('sha256', appSecret).update(body).digest('hex')}`,
  ];
  return Buffer.from(`${head.join('\r\n')}\r\n\r\n${body}`);
}

/** Writes one request and gives the status of its answer, which has no body. */
function exchange(socket: Socket, request: Buffer): Promise<number> {
  return new Promise((resolve, reject) => {
    let answer = '';
    const settle = (finish: () => void): void => {
      socket.off('data', onData).off('error', reject).off('close', onClose);
      finish();
    };
    const onClose = (): void => settle(() => reject(new Error('The connection was closed.')));
    const onData = (chunk: Buffer): void => {
      answer += chunk.toString('latin1');
      if (!answer.endsWith('\r\n\r\n')) return;
      const isWhole = /content-length: 0\r\n/i.test(answer);
      settle(() => (isWhole ? resolve(Number(answer.slice(9, 12))) : reject(new Error(`Not understood: ${answer}`))));
    };
    socket.on('data', onData).once('error', reject).once('close', onClose);
    socket.write(request);
  });
}

process.stdout.write(JSON.stringify(await run(processOptions<WebhookLoad>())));

import { createHmac } from 'node:crypto';
import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import Fastify from 'fastify';
import type { ManagementEntry, SandboxNumber } from './control-schemas.ts';
import { startSandbox, type RunningSandbox } from './start-sandbox.ts';

type Json = Record<string, unknown>;

/** A webhook as the business got it. */
export interface Received {
  /** Path of the callback, as `/hook`. */
  readonly path: string;
  readonly raw: Buffer;
  readonly signature: string;
  readonly body: { entry: { changes: { field: string; value: Json & { messages?: Json[]; statuses?: Json[] } }[] }[] };
}

/** An answer of the Graph API. */
export interface GraphAnswer {
  readonly status: number;
  readonly body: Json & { error: Json & { code: number } };
}

/** What a Graph call may have besides its address; the number's token is used unless told. */
export interface GraphOptions {
  readonly token?: string | null;
  readonly parameters?: Record<string, string>;
  readonly body?: unknown;
  readonly form?: Record<string, string>;
  readonly headers?: Record<string, string>;
}

/** A sandbox, and a business that takes webhooks at every path; it answers for the verify token `verify-me` only. */
export interface TriedSandbox {
  readonly url: string;
  readonly number: SandboxNumber;
  /** Base of the business, whose paths are all callbacks. */
  readonly businessUrl: string;
  readonly received: Received[];
  /** Paths of the verification GETs that came. */
  readonly verified: string[];
  readonly clock: { nowMs: number };
  control<Answer = Json>(method: string, path: string, body?: unknown): Promise<Answer>;
  graph(method: string, path: string, options?: GraphOptions): Promise<GraphAnswer>;
  sendText(to: string, options?: GraphOptions & { readonly from?: string }): Promise<GraphAnswer>;
  managementCalls(): Promise<ManagementEntry[]>;
  /** Stops and starts it again, with another file of accounts if one is given. */
  restart(accountsJson?: string): Promise<void>;
  close(): Promise<void>;
}

/** Starts both on free ports, for one test. */
export async function trySandbox(): Promise<TriedSandbox> {
  const dataDir = await mkdtemp(join(tmpdir(), 'sandbox-'));
  const received: Received[] = [];
  const verified: string[] = [];
  const clock = { nowMs: Date.now() };
  const business = Fastify();
  business.addContentTypeParser('application/json', { parseAs: 'buffer' }, (_request, body, done) => done(null, body));
  business.post('/*', async (request) => {
    const raw = request.body as Buffer;
    const signature = String(request.headers['x-hub-signature-256']);
    received.push({ path: request.url, raw, signature, body: JSON.parse(raw.toString()) as Received['body'] });
    return '';
  });
  business.get<{ Querystring: Record<string, string> }>('/*', async ({ query, url }, reply) => {
    verified.push(url.replace(/\?.*$/, ''));
    return query['hub.verify_token'] === 'verify-me' ? query['hub.challenge'] : reply.code(403).send();
  });
  const businessUrl = await business.listen({ host: '127.0.0.1', port: 0 });
  const number: SandboxNumber = {
    phoneNumberId: '106540000000001',
    displayPhoneNumber: '+1 202-555-0100',
    verifiedName: 'Bakery',
    wabaId: '102290000000001',
    appId: '990000000000001',
    accessToken: 'token-of-the-bakery',
    appSecret: 'secret-of-the-app',
  };
  const start = (numbers: SandboxNumber[]): Promise<RunningSandbox> =>
    startSandbox({ host: '127.0.0.1', port: 0, dataDir, numbers, now: () => clock.nowMs });
  let sandbox = await start([number]);

  const graph: TriedSandbox['graph'] = async (method, path, options = {}) => {
    const { token = number.accessToken, parameters, body, form, headers } = options;
    const query = new URLSearchParams(parameters).toString();
    const response = await fetch(`${sandbox.url}/v26.0${path}${query && `?${query}`}`, {
      method,
      headers: {
        ...(token !== null && { authorization: `Bearer ${token}` }),
        ...(body !== undefined && { 'content-type': 'application/json' }),
        ...headers,
      },
      ...(body !== undefined && { body: JSON.stringify(body) }),
      ...(form !== undefined && { body: new URLSearchParams(form) }),
    });
    return { status: response.status, body: (await response.json()) as GraphAnswer['body'] };
  };
  const control: TriedSandbox['control'] = async <Answer>(method: string, path: string, body?: unknown) => {
    const response = await fetch(`${sandbox.url}/sandbox${path}`, {
      method,
      ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${response.status} ${await response.text()}`);
    return (await response.json()) as Answer;
  };
  return {
    get url() {
      return sandbox.url;
    },
    number,
    businessUrl,
    received,
    verified,
    clock,
    control,
    graph,
    sendText: (to, { from = number.phoneNumberId, ...options } = {}) =>
      graph('POST', `/${from}/messages`, {
        body: { messaging_product: 'whatsapp', to, type: 'text', text: { body: 'Hello' } },
        ...options,
      }),
    managementCalls: async () => (await control<{ items: ManagementEntry[] }>('GET', '/journal?kind=management')).items,
    restart: async (accountsJson) => {
      await sandbox.close();
      if (accountsJson !== undefined) await writeFile(join(dataDir, 'sandbox-accounts.json'), accountsJson);
      sandbox = await start([]);
    },
    close: async () => {
      await sandbox.close();
      await business.close();
      await rm(dataDir, { recursive: true });
    },
  };
}

/** Polls until `found` gives something. @throws Error after 10 s */
export async function until<T>(
  what: string,
  found: () => T | undefined | false | Promise<T | undefined | false>,
): Promise<T> {
  const deadline = Date.now() + 10_000;
  for (;;) {
    const value = await found();
    if (value !== undefined && value !== false) return value;
    if (Date.now() > deadline) throw new Error(`Waited in vain for ${what}.`);
    await new Promise((resolve) => setTimeout(resolve, 5));
  }
}

/** The proof that a caller knows the app's secret. */
export function proofOf(token: string, secret: string): string {
  return createHmac('sha256', secret).update(token).digest('hex');
}

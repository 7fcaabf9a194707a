import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { ConfigError } from '@answerline/config';
import { listenOn } from '@answerline/lifecycle';
import fastifyStatic from '@fastify/static';
import Fastify from 'fastify';
import { controlApi } from './control-api.ts';
import type { SandboxNumber } from './control-schemas.ts';
import { graphApi } from './graph-api.ts';
import { Mailbox } from './mailbox.ts';
import { Meta } from './meta.ts';

/** A body of Meta's 3 MB in base64 or with every sign escaped, and 10,000 messages at once, fit in. */
const maxBodyBytes = 32 * 1024 * 1024;

/** What {@link startSandbox} takes. */
export interface SandboxOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Of the mailbox; 0, as when left out, takes a free one. */
  readonly smtpPort?: number;
  /** Folder of `sandbox-journal.jsonl`, `sandbox-inbound.jsonl`, `sandbox-mails.jsonl` and `sandbox-accounts.json`; made when it is missing. */
  readonly dataDir: string;
  /** Business numbers that are known from the start; more come by `PUT /sandbox/numbers/:phoneNumberId`. */
  readonly numbers?: readonly SandboxNumber[];
  /** Unix milliseconds; the system's clock unless given. */
  readonly now?: () => number;
  /** Seed of repeats, disorder and faults, 1 unless given. */
  readonly seed?: number;
  /** True where the product runs for real; then the sandbox refuses to start. */
  readonly production?: boolean;
}

/** A running sandbox. */
export interface RunningSandbox {
  /** Address without a slash at the end: the phone page, and the base of the Graph API (`META_GRAPH_BASE_URL`). */
  readonly url: string;
  /** Address of the mailbox (`SMTP_URL`), on loopback. */
  readonly smtpUrl: string;
  close(): Promise<void>;
}

/**
 * Starts Meta's side of the wire for trying and testing: the Graph API under `/v26.0`, its control under `/sandbox`, a
 * phone at `/`. Chats, accounts and the journal go on where the last run stopped; settings and webhooks that were still
 * to be delivered do not.
 *
 * @throws ConfigError in production, when it cannot listen there, or when one of its files is damaged.
 */
export async function startSandbox(options: SandboxOptions): Promise<RunningSandbox> {
  if (options.production) {
    throw new ConfigError(['The sandbox plays Meta and does not start in production: set SANDBOX=off']);
  }
  await mkdir(options.dataDir, { recursive: true });
  const meta = await Meta.open(options.dataDir, options.now ?? Date.now, options.seed ?? 1);
  for (const number of options.numbers ?? []) meta.accounts.putNumber(number);

  const mailbox = await openMailbox(options).catch(async (error: unknown) => {
    await meta.close();
    throw error;
  });

  const app = Fastify({ bodyLimit: maxBodyBytes, forceCloseConnections: true, logger: false });
  app.addHook('onClose', async () => void (await Promise.all([meta.close(), mailbox.close()])));
  app.get('/health/live', async () => ({ status: 'ok' }));
  await app.register(graphApi(meta));
  await app.register(controlApi(meta, mailbox), { prefix: '/sandbox' });
  await app.register(fastifyStatic, {
    root: fileURLToPath(new URL('../public', import.meta.url)),
    cacheControl: false,
    setHeaders: (response) => {
      void response.header('cache-control', 'no-cache');
      void response.header('content-security-policy', "default-src 'self'; base-uri 'none'; frame-ancestors 'none'");
      void response.header('x-content-type-options', 'nosniff');
    },
  });
  try {
    const url = await listenOn('SANDBOX_PORT', () => app.listen({ host: options.host, port: options.port }));
    return { url, smtpUrl: mailbox.url, close: () => app.close() };
  } catch (error) {
    await app.close();
    throw error;
  }
}

function openMailbox({ dataDir, smtpPort = 0, now = Date.now }: SandboxOptions): Promise<Mailbox> {
  return Mailbox.open({ dataDir, port: smtpPort, now });
}

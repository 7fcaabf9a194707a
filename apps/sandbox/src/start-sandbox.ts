import { mkdir } from 'node:fs/promises';
import { fileURLToPath } from 'node:url';
import { InvalidInput } from '@answerline/errors';
import fastifyStatic from '@fastify/static';
import Fastify from 'fastify';
import { controlApi } from './control-api.ts';
import type { SandboxNumber } from './control-schemas.ts';
import { graphApi } from './graph-api.ts';
import { Meta } from './meta.ts';

/** A body of Meta's 3 MB in base64 or with every sign escaped, and 10,000 messages at once, fit in. */
const maxBodyBytes = 32 * 1024 * 1024;

/** What {@link startSandbox} takes. */
export interface SandboxOptions {
  readonly host: string;
  /** 0 takes a free one. */
  readonly port: number;
  /** Folder of `sandbox-journal.jsonl` and `sandbox-inbound.jsonl`; made when it is missing. */
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
  close(): Promise<void>;
}

/**
 * Starts Meta's side of the wire for trying and testing: the Graph API under `/v26.0`, its control under `/sandbox`, a
 * phone at `/`. Chats and the two files go on where the last run stopped; numbers, settings and webhooks that were still
 * to be delivered do not.
 *
 * @throws InvalidInput `sandbox_in_production`, `port_in_use`.
 */
export async function startSandbox(options: SandboxOptions): Promise<RunningSandbox> {
  if (options.production) {
    throw new InvalidInput('sandbox_in_production', 'The sandbox plays Meta and must never run in production.');
  }
  await mkdir(options.dataDir, { recursive: true });
  const meta = await Meta.open(options.dataDir, options.now ?? Date.now);
  for (const number of options.numbers ?? []) meta.numbers.set(number.phoneNumberId, number);
  if (options.seed !== undefined) {
    meta.delivery.configure({ seed: options.seed });
    meta.faults.reseed(options.seed);
  }

  const app = Fastify({ bodyLimit: maxBodyBytes, forceCloseConnections: true, logger: false });
  app.addHook('onClose', () => meta.close());
  app.get('/health/live', async () => ({ status: 'ok' }));
  await app.register(graphApi(meta));
  await app.register(controlApi(meta), { prefix: '/sandbox' });
  await app.register(fastifyStatic, {
    root: fileURLToPath(new URL('../public', import.meta.url)),
    cacheControl: false,
    setHeaders: (response) => {
      response.setHeader('cache-control', 'no-cache');
      response.setHeader('content-security-policy', "default-src 'self'; base-uri 'none'; frame-ancestors 'none'");
      response.setHeader('x-content-type-options', 'nosniff');
    },
  });
  try {
    const url = await app.listen({ host: options.host, port: options.port });
    return { url: url.replace('[::1]', 'localhost'), close: () => app.close() };
  } catch (error) {
    await app.close();
    if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE') throw error;
    throw new InvalidInput(
      'port_in_use',
      `Port ${options.port} is taken. Stop what uses it or set SANDBOX_PORT to another one.`,
      { cause: error },
    );
  }
}

import { createHash, createHmac, timingSafeEqual } from 'node:crypto';
import { jetstream, jetstreamManager, type JetStreamClient } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { fastify, type FastifyInstance } from 'fastify';

/** As the gateway's: Meta sends up to 3 MB. */
const bodyLimit = 3 * 1024 * 1024;
/** As the gateway's. */
const publishTimeoutMs = 3_000;

export interface BareWebhookOptions {
  readonly natsUrl: string;
  readonly natsToken: string;
  /** A stream of this name is made with the settings of WEBHOOKS, which must exist. */
  readonly stream: string;
  readonly appSecret: string;
}

/** A handler that does what a webhook door cannot do without, and nothing else. */
export interface BareWebhook {
  readonly app: FastifyInstance;
  readonly connection: NatsConnection;
  readonly client: JetStreamClient;
}

/**
 * The floor of a webhook door: `POST /hook` takes the raw bytes, checks Meta's signature in constant time, publishes the body
 * with its SHA-256 as message id, and answers 200 after the stream's ack. One known secret, no key to look up, nothing noted.
 */
export async function bareWebhook({ natsUrl, natsToken, stream, appSecret }: BareWebhookOptions): Promise<BareWebhook> {
  const connection = await connect({ servers: natsUrl, token: natsToken, noAsyncTraces: true });
  const manager = await jetstreamManager(connection);
  const { config } = await manager.streams.info('WEBHOOKS');
  const subject = `${stream.toLowerCase()}.hook`;
  await manager.streams.add({ ...config, name: stream, subjects: [subject] });
  const client = jetstream(connection);

  const app = fastify();
  app.removeAllContentTypeParsers();
  app.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit }, (_request, body, done) => done(null, body));
  app.post('/hook', async (request, reply) => {
    const body = request.body as Buffer;
    const given = Buffer.from(String(request.headers['x-hub-signature-256']).slice('sha256='.length), 'hex');
    const expected = createHmac('sha256', appSecret).update(body).digest();
    if (given.length !== expected.length || !timingSafeEqual(given, expected)) return reply.code(401).send();
    const msgID = `key:${createHash('sha256').update(body).digest('hex')}`;
    await client.publish(subject, body, { msgID, timeout: publishTimeoutMs });
    return reply.code(200).send();
  });
  return { app, connection, client };
}

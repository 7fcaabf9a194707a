import { hash } from 'node:crypto';
import { correlationHeader } from '@answerline/contracts';
import { InvalidInput, Transient } from '@answerline/errors';
import { type MessageBus } from '@answerline/messaging';
import { safeEqual } from '@answerline/secrets';
import { type FastifyPluginAsync, type FastifyReply, type FastifyRequest } from 'fastify';
import { type DeliveryBook } from './delivery-book.ts';
import { isSignedBy } from './webhook-signature.ts';
import { type WebhookKeyRecord, type WebhookKeys } from './webhook-keys.ts';

/** Meta: payloads have up to 3 MB (webhooks overview). Read generously: 3 MiB. */
export const WEBHOOK_BODY_MAX_BYTES = 3 * 1024 * 1024;
/** Our keys are 32 random bytes as base64url. Anything else cannot be one and is not looked up. */
const keyShape = /^[\w-]{43}$/;
/** Meta sends an integer. Nothing else is echoed, so that nobody can have us serve a text of theirs. */
const challengeShape = /^\d{1,64}$/;
const emptyBody = Buffer.alloc(0);
/** On the delivery that a health check sends to our own callback: it is no sign of life of Meta's. */
export const SELF_TEST_HEADER = 'answerline-self-test';

export interface WebhookDoorParts {
  readonly keys: WebhookKeys;
  readonly bus: MessageBus;
  readonly deliveries: DeliveryBook;
}

/** What was found out about the key of a request, on the request. */
const knownKey = 'webhookKey';

interface KnownKey {
  readonly keyHash: string;
  /** Not there while Postgres could not be asked. */
  readonly record?: WebhookKeyRecord;
}

/**
 * `GET|POST /webhooks/whatsapp/:key`, as a Fastify plugin and not a Nest controller: a signature needs the bytes as they came,
 * of any content type and up to 3 MB, and nothing should stand between socket and HMAC. Answers have no body, whatever
 * happened. 200 means that JetStream has stored the body.
 */
export function webhookDoor({ keys, bus, deliveries }: WebhookDoorParts): FastifyPluginAsync {
  return async (door) => {
    door.decorateRequest(knownKey, null);
    door.removeAllContentTypeParsers();
    door.addContentTypeParser('*', { parseAs: 'buffer', bodyLimit: WEBHOOK_BODY_MAX_BYTES }, (_request, body, done) =>
      done(null, body),
    );

    door.setErrorHandler((error, request, reply) => {
      const key = request.getDecorator<KnownKey | null>(knownKey);
      const status = statusOf(error);
      if (key && status === 413) deliveries.refused(key.keyHash, 'too_large');
      else if (key && status < 500) deliveries.refused(key.keyHash, 'not_stored');
      else if (key) deliveries.notStored(key.keyHash, error);
      return reply.code(status).send();
    });

    /** Before the body is read, so that nobody makes us read 3 MB without a key. */
    const findKey = (request: FastifyRequest, reply: FastifyReply, done: (error?: Error) => void): void => {
      const keyHash = hashOfKey(request);
      if (keyHash === null) return void reply.code(404).send();
      const settle = (record: WebhookKeyRecord | null): void => {
        if (record === null) return void reply.code(404).send();
        // Meta has yet to learn that nobody is here any more. It gets its 200, and nothing is read.
        if (record.isErased) return void reply.code(200).send();
        request.setDecorator<KnownKey>(knownKey, { keyHash, record });
        done(record.unreadable);
      };
      const found = keys.lookup(keyHash);
      if (!(found instanceof Promise)) return settle(found);
      found.then(settle, (error: Error) => {
        request.setDecorator<KnownKey>(knownKey, { keyHash });
        done(error);
      });
    };

    door.post('/webhooks/whatsapp/:key', { onRequest: findKey }, async (request, reply) => {
      const { keyHash, record } = request.getDecorator<KnownKey | null>(knownKey) ?? {};
      if (keyHash === undefined || record === undefined) return reply.code(404).send();
      const body = request.body instanceof Buffer ? request.body : emptyBody;
      if (record.appSecret && !isSignedBy(record.appSecret, body, request.headers['x-hub-signature-256'])) {
        deliveries.refused(keyHash, 'bad_signature');
        return reply.code(401).send();
      }
      await bus.publish(record.subject, body, {
        messageId: `${record.keyId}:${hash('sha256', body, 'hex')}`,
        headers: { [correlationHeader]: request.id },
      });
      // Ours: it says nothing of Meta.
      if (request.headers[SELF_TEST_HEADER] === undefined) deliveries.accepted(keyHash, record.appSecret !== null);
      return reply.code(200).send();
    });

    door.get('/webhooks/whatsapp/:key', { exposeHeadRoute: false }, async (request, reply) => {
      const keyHash = hashOfKey(request);
      const verification = keyHash === null ? null : await keys.verification(keyHash);
      if (keyHash === null || verification === null) return reply.code(404).send();
      const query = request.query as Record<string, unknown>;
      const { 'hub.mode': mode, 'hub.challenge': challenge, 'hub.verify_token': token } = query;
      const isVerified =
        mode === 'subscribe' && typeof token === 'string' && safeEqual(token, verification.verifyToken);
      if (!isVerified || typeof challenge !== 'string' || !challengeShape.test(challenge)) {
        deliveries.refused(keyHash, 'bad_verify_token');
        return reply.code(403).send();
      }
      deliveries.verified(keyHash);
      return reply.type('text/plain; charset=utf-8').send(challenge);
    });
  };
}

function hashOfKey(request: FastifyRequest): string | null {
  const { key } = request.params as { key: string };
  return keyShape.test(key) ? hash('sha256', key, 'hex') : null;
}

function statusOf(error: unknown): number {
  if (error instanceof Transient) return 503;
  if (error instanceof InvalidInput) return error.httpStatus;
  const status = error instanceof Error && 'statusCode' in error ? Number(error.statusCode) : 500;
  return status >= 400 && status < 500 ? status : 500;
}

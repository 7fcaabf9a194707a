import type { FastifyInstance } from 'fastify';
import { identifyWith, noSuchObject, tokenTrouble } from './graph-access.ts';
import { GraphRefused, type GraphCall } from './graph-call.ts';
import { sha256Base64 } from './media.ts';
import type { Meta } from './meta.ts';

interface Download {
  Params: { id: string };
  Querystring: { ext?: string; hash?: string };
}

/**
 * `GET /{media-id}`: what a file is, and an address that is good for five minutes (Meta, "Media").
 *
 * @throws GraphRefused 100/33 for a file of a number that the token or `phone_number_id` does not mean
 */
export function mediaNode(meta: Meta, call: GraphCall): unknown {
  const token = identifyWith(meta, call, 'whatsapp_business_messaging');
  const nowMs = meta.now();
  const file = meta.media.get(call.id, nowMs);
  const number = file && meta.accounts.numbers.get(file.phoneNumberId);
  const wanted = call.parameters['phone_number_id'] ?? number?.phoneNumberId;
  if (!file || !number || wanted !== number.phoneNumberId || !meta.accounts.reaches(token, number.wabaId)) {
    throw new GraphRefused(noSuchObject(call.method, call.id));
  }
  call.about.phoneNumberId = number.phoneNumberId;
  call.about.wabaId = number.wabaId;
  return {
    messaging_product: 'whatsapp',
    url: `${call.origin}${meta.media.address(file.id, nowMs)}`,
    mime_type: file.mimeType,
    sha256: Buffer.from(sha256Base64(file.bytes), 'base64').toString('hex'),
    file_size: String(file.bytes.length),
    id: file.id,
  };
}

/**
 * The download itself. With an address that is too old, or without a good token of the file's app, it is as if there
 * were nothing: 404, as at Meta.
 */
export function mediaRoutes(app: FastifyInstance, meta: Meta): void {
  app.get<Download>('/media/:id', async (request, reply) => {
    const accessToken = /^Bearer (.+)$/i.exec(request.headers.authorization ?? '')?.[1];
    const token = accessToken === undefined ? undefined : meta.accounts.token(accessToken);
    const file = meta.media.fetch(request.params.id, request.query, meta.now());
    const number = file && meta.accounts.numbers.get(file.phoneNumberId);
    const isGood = token !== undefined && tokenTrouble(token, meta.now()) === undefined;
    if (!isGood || !file || !number || !meta.accounts.reaches(token, number.wabaId)) {
      return reply.code(404).type('text/plain').send('Not found');
    }
    return reply.type(file.mimeType).send(file.bytes);
  });
}

import type { FastifyPluginAsync } from 'fastify';
import { threadQuerySchema } from './control-schemas.ts';
import type { Meta } from './meta.ts';
import type { LiveEvent } from './threads.ts';

/** A comment line this often keeps proxies and browsers from closing an idle stream. */
const heartbeatMs = 15_000;

/**
 * `GET /stream?phoneNumberId&contactId`: server-sent events for one open phone. While it is open the contact looks at
 * this chat, so what arrives is read.
 */
export function liveStream(meta: Meta): FastifyPluginAsync {
  return async (app) => {
    const open = new Set<() => void>();
    app.addHook('preClose', async () => {
      for (const end of open) end();
    });
    app.get('/stream', (request, reply) => {
      const query = threadQuerySchema.safeParse(request.query);
      if (!query.success) {
        void reply.code(422).send({ code: 'invalid_request', detail: 'Give phoneNumberId and contactId.' });
        return;
      }
      const { phoneNumberId, contactId } = query.data;
      reply.hijack();
      const { raw } = reply;
      raw.writeHead(200, {
        'content-type': 'text/event-stream',
        'cache-control': 'no-store',
        connection: 'keep-alive',
      });
      raw.write('retry: 1000\n\n');
      const send = (event: LiveEvent) => {
        if (isForPhone(meta, event, phoneNumberId, contactId)) raw.write(`data: ${JSON.stringify(event)}\n\n`);
      };
      const stopListening = meta.threads.listen(send);
      const leave = meta.look(phoneNumberId, contactId);
      const heartbeat = setInterval(() => raw.write(':\n\n'), heartbeatMs);
      const end = () => {
        if (!open.delete(end)) return;
        clearInterval(heartbeat);
        stopListening();
        leave();
        raw.end();
      };
      open.add(end);
      raw.on('close', end);
    });
  };
}

/** The chat on the screen, and what the list of contacts beside it shows. */
function isForPhone(meta: Meta, event: LiveEvent, phoneNumberId: string, contactId: string): boolean {
  if (event.type === 'changed') return true;
  if (event.phoneNumberId !== phoneNumberId) return false;
  return event.contactId === contactId || meta.contacts.get(event.contactId)?.listed === true;
}

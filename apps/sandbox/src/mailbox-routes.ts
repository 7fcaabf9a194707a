import type { FastifyInstance } from 'fastify';
import { mailboxFaultsSchema, mailsQuerySchema } from './mailbox-schemas.ts';
import type { Mailbox } from './mailbox.ts';
import { parseRequest } from './parse-request.ts';

/** `GET /mails`: what was taken, oldest first. `GET` and `PUT /mailbox`: its address, and what goes wrong with mails. */
export function mailboxRoutes(app: FastifyInstance, mailbox: Mailbox): void {
  app.get('/mails', async (request) => {
    const { after, limit } = parseRequest(mailsQuerySchema, request.query);
    return { items: mailbox.mails.after(after).slice(0, limit), last: mailbox.mails.last };
  });
  app.get('/mailbox', async () => ({ url: mailbox.url, ...mailbox.faults }));
  app.put('/mailbox', async (request) => {
    await mailbox.setFaults(parseRequest(mailboxFaultsSchema, request.body));
    return { url: mailbox.url, ...mailbox.faults };
  });
}

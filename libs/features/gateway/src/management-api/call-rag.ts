import { InvalidInput, Transient } from '@answerline/errors';
import { type FastifyReply } from 'fastify';
import { notFound } from './api-errors.ts';

/**
 * Calls rag for a request; the work ends when the client hangs up. A chatbot that is not there is the 404 of every route.
 */
export async function callRag<Result>(
  reply: FastifyReply,
  call: (signal: AbortSignal) => Promise<Result>,
): Promise<Result> {
  const gone = new AbortController();
  const onClose = (): void => gone.abort(new Transient('client_gone', 'The client has hung up.'));
  reply.raw.once('close', onClose);
  try {
    return await call(gone.signal);
  } catch (error) {
    if (error instanceof InvalidInput && error.httpStatus === 404) throw notFound();
    throw error;
  } finally {
    reply.raw.off('close', onClose);
  }
}

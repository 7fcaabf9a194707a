import { PassThrough, type Readable } from 'node:stream';
import { toAppError } from '@answerline/errors';
import { type Logger } from '@answerline/logging';
import { type AskResult } from '@answerline/rag-client';
import { toProblem } from '../management-api/problem.ts';

/** https://html.spec.whatwg.org/multipage/server-sent-events.html */
export const EVENT_STREAM_TYPE = 'text/event-stream';

/** Whether a client that sends this `Accept` asks for events. */
export function wantsEventStream(accept: string | undefined): boolean {
  return (accept ?? '').split(',').some((range) => {
    const [type = '', ...parameters] = range.split(';').map((part) => part.trim().toLowerCase());
    return type === EVENT_STREAM_TYPE && !parameters.some((parameter) => /^q=0(\.0*)?$/.test(parameter));
  });
}

/**
 * The events of an answer: `token` {text}, any number of them, then `result` or, when it fails, `error` with a problem. Resolves with the
 * first event; rejects when it failed before that, so that the client gets the status that fits.
 */
export async function streamAnswer(
  ask: (onToken: (text: string) => void) => Promise<AskResult>,
  { correlationId, logger }: { readonly correlationId: string; readonly logger: Logger },
): Promise<Readable> {
  const stream = new PassThrough();
  const started = Promise.withResolvers<void>();
  let hasStarted = false;
  const send = (event: 'token' | 'result' | 'error', data: object): void => {
    // Written after the client has gone, it would be an error of the stream.
    if (!stream.destroyed) stream.write(`event: ${event}\ndata: ${JSON.stringify(data)}\n\n`);
    hasStarted = true;
    started.resolve();
  };
  ask((text) => send('token', { text })).then(
    (result) => {
      send('result', result);
      stream.end();
    },
    (thrown: unknown) => {
      if (!hasStarted) return started.reject(thrown);
      const error = toAppError(thrown);
      if (!stream.destroyed) {
        logger[error.kind === 'unexpected' ? 'error' : 'warn'](
          { correlationId, code: error.code, err: error },
          'Request failed',
        );
      }
      send('error', toProblem(error, correlationId));
      stream.end();
    },
  );
  await started.promise;
  return stream;
}

import { Transient } from '@answerline/errors';
import { LOGGER, type Logger } from '@answerline/logging';
import { type ArgumentsHost, Catch, type ExceptionFilter, Inject } from '@nestjs/common';
import { type FastifyReply, type FastifyRequest } from 'fastify';
import { RefusedRequest } from './api-errors.ts';
import { fromThrown, PROBLEM_TYPE, toProblem } from './problem.ts';

/** Answers whatever was thrown with problem details (RFC 9457), and logs the faults of ours. No other place does. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;

  constructor(@Inject(LOGGER) logger: Logger) {
    this.#logger = logger;
  }

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const error = fromThrown(thrown);
    const problem = toProblem(error, request.id);
    if (problem.status >= 500) {
      const level = error.kind === 'unexpected' ? 'error' : 'warn';
      this.#logger[level]({ correlationId: request.id, code: error.code, err: error }, 'Request failed');
    }
    if (reply.sent) return;
    if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
    const mayWait = error instanceof Transient || error instanceof RefusedRequest;
    if (mayWait && error.retryAfterMs !== undefined) {
      reply.header('retry-after', Math.ceil(error.retryAfterMs / 1_000));
    }
    reply.header('cache-control', 'no-store');
    void reply.code(problem.status).type(PROBLEM_TYPE).send(JSON.stringify(problem));
  }
}

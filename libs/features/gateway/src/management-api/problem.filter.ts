import { type Problem } from '@answerline/contracts';
import { InvalidInput, toAppError, Transient, type AppError } from '@answerline/errors';
import { LOGGER, type Logger } from '@answerline/logging';
import { type ArgumentsHost, Catch, type ExceptionFilter, HttpException, Inject } from '@nestjs/common';
import { type FastifyReply, type FastifyRequest } from 'fastify';
import { RefusedRequest } from './api-errors.ts';

/** The names of RFC 9110: a problem of type about:blank has no other title. */
const titles: Readonly<Record<number, string>> = {
  400: 'Bad Request',
  401: 'Unauthorized',
  402: 'Payment Required',
  403: 'Forbidden',
  404: 'Not Found',
  408: 'Request Timeout',
  409: 'Conflict',
  413: 'Content Too Large',
  414: 'URI Too Long',
  415: 'Unsupported Media Type',
  422: 'Unprocessable Content',
  500: 'Internal Server Error',
  503: 'Service Unavailable',
};

/** What Fastify and Nest refuse by themselves. Their own messages stay inside: some quote the request. */
const refusedByFramework: Readonly<Record<number, readonly [code: string, detail: string]>> = {
  400: ['malformed_request', 'The request cannot be read. A body must be JSON.'],
  404: ['not_found', 'There is nothing at this address.'],
  408: ['request_timeout', 'The request took too long to arrive.'],
  413: ['body_too_large', 'The body is larger than this address takes.'],
  414: ['address_too_long', 'The address is too long.'],
  415: ['unsupported_media_type', 'Send the body as application/json.'],
};

/** Turns whatever was thrown into problem details (RFC 9457). The only place that does, and that logs a failed request. */
@Catch()
export class ProblemFilter implements ExceptionFilter {
  readonly #logger: Logger;

  constructor(@Inject(LOGGER) logger: Logger) {
    this.#logger = logger;
  }

  catch(thrown: unknown, host: ArgumentsHost): void {
    const request = host.switchToHttp().getRequest<FastifyRequest>();
    const reply = host.switchToHttp().getResponse<FastifyReply>();
    const error = fromFramework(thrown) ?? toAppError(thrown);
    const problem = toProblem(error, request.id);
    if (problem.status >= 500) {
      const level = error.kind === 'unexpected' ? 'error' : 'warn';
      this.#logger[level]({ correlationId: request.id, code: error.code, err: error }, 'Request failed');
    }
    if (reply.sent) return;
    if (problem.status === 401) reply.header('www-authenticate', 'Bearer');
    if (error instanceof Transient && error.retryAfterMs !== undefined) {
      reply.header('retry-after', Math.ceil(error.retryAfterMs / 1_000));
    }
    void reply
      .code(problem.status)
      .header('content-type', 'application/problem+json; charset=utf-8')
      .header('cache-control', 'no-store')
      .send(JSON.stringify(problem));
  }
}

/** The problem of an error. A fault of ours is not explained to the client: it gets the id under which it stands in the log. */
export function toProblem(error: AppError, correlationId: string): Problem & Record<string, unknown> {
  const status = statusOf(error);
  return {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    code: error.code,
    detail: status < 500 ? error.message : faultDetail(error),
    ...(status >= 500 && { correlationId }),
    ...(error instanceof RefusedRequest && error.members),
  };
}

function statusOf(error: AppError): number {
  if (error instanceof InvalidInput) return error.httpStatus;
  return error.kind === 'transient' ? 503 : 500;
}

function faultDetail(error: AppError): string {
  return error.kind === 'transient'
    ? 'This does not work at the moment. Try again.'
    : 'Something went wrong on our side.';
}

function fromFramework(thrown: unknown): AppError | undefined {
  const status = frameworkStatus(thrown);
  if (status === undefined || status < 400 || status >= 500) return undefined;
  const [code, detail] = refusedByFramework[status] ?? ['refused', 'The request was refused.'];
  return new RefusedRequest(code, detail, status);
}

function frameworkStatus(thrown: unknown): number | undefined {
  if (thrown instanceof HttpException) return thrown.getStatus();
  if (thrown instanceof Error && thrown.name === 'FastifyError' && 'statusCode' in thrown)
    return Number(thrown.statusCode);
  return undefined;
}

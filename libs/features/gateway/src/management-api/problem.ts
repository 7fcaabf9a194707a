import { type Problem } from '@answerline/contracts';
import { type AppError, InvalidInput, toAppError } from '@answerline/errors';
import { HttpException } from '@nestjs/common';
import { RefusedRequest } from './api-errors.ts';

/** The media type of RFC 9457. */
export const PROBLEM_TYPE = 'application/problem+json; charset=utf-8';

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
  429: 'Too Many Requests',
  500: 'Internal Server Error',
  502: 'Bad Gateway',
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

/** Whatever was thrown, as one of our errors. What the framework refused has a code of ours. */
export function fromThrown(thrown: unknown): AppError {
  const status = frameworkStatus(thrown);
  if (status === undefined || status < 400 || status >= 500) return toAppError(thrown);
  const [code, detail] = refusedByFramework[status] ?? ['refused', 'The request was refused.'];
  return new RefusedRequest(code, detail, status);
}

/** The problem of an error. A fault of ours is not explained to the client: it gets the id under which it stands in the log. */
export function toProblem(error: AppError, correlationId: string): Problem & Record<string, unknown> {
  const status = statusOf(error);
  return {
    type: 'about:blank',
    title: titles[status] ?? 'Error',
    status,
    code: error.code,
    // What was refused for a fault of somebody else's says so itself.
    detail: status < 500 || error instanceof RefusedRequest ? error.message : faultDetail(error),
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

function frameworkStatus(thrown: unknown): number | undefined {
  if (thrown instanceof HttpException) return thrown.getStatus();
  const isFastifys = thrown instanceof Error && thrown.name === 'FastifyError' && 'statusCode' in thrown;
  return isFastifys ? Number(thrown.statusCode) : undefined;
}

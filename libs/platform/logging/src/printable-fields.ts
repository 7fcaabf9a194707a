import { types } from 'node:util';
import { AppError, Transient } from '@answerline/errors';
import { censor, isRedacted, redactedFields } from './redacted-fields.ts';
import { scrub } from './scrub.ts';

/** Deeper than any field of ours, and an end for values that contain themselves. */
const maxDepth = 6;

/** `fields` as they may be printed: a copy without the values of the redacted fields, with errors as `errorFields`. */
export function redactFields(fields: Readonly<Record<string, unknown>>, depth = 1): Record<string, unknown> {
  const copy: Record<string, unknown> = {};
  for (const key of Object.keys(fields)) {
    const value = fields[key];
    copy[key] = isRedacted(key) ? censor(value) : redactValue(value, depth);
  }
  return copy;
}

function redactValue(value: unknown, depth: number): unknown {
  if (typeof value !== 'object' || value === null) return value;
  if (isError(value)) return errorFields(value);
  if (ArrayBuffer.isView(value)) return `[${value.byteLength} bytes]`;
  if (hasToJson(value)) {
    const json = value.toJSON();
    return typeof json === 'object' ? redactPlain(json, depth) : json;
  }
  return redactPlain(value, depth);
}

const hasToJson = (value: object): value is { toJSON(): unknown } =>
  'toJSON' in value && typeof value.toJSON === 'function';

function redactPlain(value: object | null, depth: number): unknown {
  if (value === null) return null;
  if (depth >= maxDepth) return '[deeper]';
  if (Array.isArray(value)) return value.map((one) => redactValue(one, depth + 1));
  return redactFields(value as Record<string, unknown>, depth + 1);
}

/** An error as it stands in a log line. */
export interface ErrorFields {
  readonly type: string;
  readonly message: string;
  readonly kind?: string;
  readonly code?: string | number;
  readonly context?: Record<string, unknown>;
  readonly retryAfterMs?: number;
  readonly stack?: string;
  readonly cause?: ErrorFields;
  readonly errors?: readonly ErrorFields[];
}

/** How far chains of causes are followed, and how many errors of an AggregateError are shown: enough for any real one, and an end for loops. */
const maxCauses = 5;
const maxErrors = 5;
/** A vendor's message can repeat a whole response. */
const maxTextLength = 4_000;

/**
 * The fields of an error that are safe to print: kind, code, context, stack and causes. The other properties of a vendor's
 * error are left out, because they hold requests, headers, parameters and rows. Takes anything that can be thrown.
 */
export function errorFields(error: unknown, depth = 1): ErrorFields {
  if (!isError(error)) {
    return { type: typeof error, message: typeof error === 'string' ? text(error) : 'not an Error' };
  }
  const code: unknown = 'code' in error ? error.code : undefined;
  const { kind, context } = error instanceof AppError ? error : {};
  const retryAfterMs = error instanceof Transient ? error.retryAfterMs : undefined;
  return {
    type: error.constructor.name,
    message: text(error.message),
    ...(kind && { kind }),
    ...((typeof code === 'string' || typeof code === 'number') && { code }),
    ...(context && Object.keys(context).length > 0 && { context: redactFields(context) }),
    ...(retryAfterMs !== undefined && { retryAfterMs }),
    ...(error.stack !== undefined && { stack: text(error.stack) }),
    ...(depth < maxCauses && error.cause !== undefined && { cause: errorFields(error.cause, depth + 1) }),
    ...(depth < maxCauses &&
      'errors' in error &&
      Array.isArray(error.errors) && {
        errors: error.errors.slice(0, maxErrors).map((one) => errorFields(one, depth + 1)),
      }),
  };
}

/** Also true for errors of another realm, such as those of Node itself under a test runner. */
const isError = (value: unknown): value is Error => value instanceof Error || types.isNativeError(value);

const text = (long: string) => scrub(long.slice(0, maxTextLength));

const printedError = (value: unknown) => (isError(value) ? errorFields(value) : value);

/**
 * For pino's `serializers`, which unlike its `formatters` also see the bindings of child loggers, but only their first level.
 * `message` is left out, because there it means the message of the line.
 */
export const redactingSerializers: Record<string, (value: unknown) => unknown> = {
  ...Object.fromEntries(redactedFields.filter((field) => field !== 'message').map((field) => [field, censor])),
  err: printedError,
  error: printedError,
};

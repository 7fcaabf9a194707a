/** Facts for whoever reads the log. Ids, counts and codes only: no secret, phone number, name or message text. */
export type ErrorContext = Readonly<Record<string, string | number | boolean | null | undefined>>;

/**
 * Whose fault it is and whether a retry helps. It decides everything that happens to an error:
 *
 * | kind          | HTTP | a consumer           | a work row      | log          |
 * | ------------- | ---- | -------------------- | --------------- | ------------ |
 * | invalid_input | 4xx  | dead letter at once  | failed          | warn         |
 * | transient     | 503  | tries again later    | tries again     | warn         |
 * | unexpected    | 500  | dead letter after 5  | tries, then failed | error, stack |
 */
export type ErrorKind = 'invalid_input' | 'transient' | 'unexpected';

/** What an {@link AppError} carries beside its code and message. */
export interface ErrorDetails {
  readonly cause?: unknown;
  readonly context?: ErrorContext;
}

/** Base of every error that this project throws on purpose. `code` is stable and public: clients branch on it. */
export abstract class AppError extends Error {
  abstract readonly kind: ErrorKind;
  readonly code: string;
  readonly context: ErrorContext;

  constructor(code: string, message: string, details: ErrorDetails = {}) {
    super(message, details.cause === undefined ? undefined : { cause: details.cause });
    this.name = new.target.name;
    this.code = code;
    this.context = details.context ?? {};
  }
}

/** The sender is wrong and a retry will not help. `httpStatus` is the 4xx answer, 422 unless told. */
export class InvalidInput extends AppError {
  readonly kind = 'invalid_input';
  readonly httpStatus: number;

  constructor(code: string, message: string, details: ErrorDetails & { readonly httpStatus?: number } = {}) {
    super(code, message, details);
    this.httpStatus = details.httpStatus ?? 422;
  }
}

/** The world is busy or away; the same thing may work later, in `retryAfterMs` milliseconds when the other side said so. */
export class Transient extends AppError {
  readonly kind = 'transient';
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message: string,
    details: ErrorDetails & { readonly retryAfterMs?: number | undefined } = {},
  ) {
    super(code, message, details);
    this.retryAfterMs = details.retryAfterMs;
  }
}

/** Our own bug, or a state that cannot be. */
export class Unexpected extends AppError {
  readonly kind = 'unexpected';
}

/** The error itself when it is ours, else an {@link Unexpected} `internal_error` around it. Never throws. */
export function toAppError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  return new Unexpected('internal_error', 'Something went wrong on our side.', { cause: error });
}

import { type AppError, InvalidInput, toAppError, Transient, Unexpected } from '@answerline/errors';
import { Metadata, status } from '@grpc/grpc-js';
import { BadRequest, ErrorInfo, RetryInfo, Status, type Detail } from './status.gen.ts';

/** Where a google.rpc.Status travels, by the convention of gRPC (googleapis, google/rpc/status.proto). */
const DETAILS_KEY = 'grpc-status-details-bin';
/** Says that a `reason` is one of our codes. */
const DOMAIN = 'answerline';
const TYPE = 'type.googleapis.com/google.rpc.';
/** The longest pause that another side may ask of us; more is a mistake. */
const MAX_RETRY_AFTER_MS = 10 * 60 * 1000;

/** What a gRPC call ends with when it fails, as grpc-js takes and gives it. */
export interface GrpcStatus {
  readonly code: status;
  readonly details: string;
  readonly metadata: Metadata;
}

/** A field of a request and what is wrong with it. Never with the value. */
export interface FieldProblem {
  readonly path: string;
  readonly message: string;
}

/** A request that was refused for some of its fields; `validation_failed`. */
export class InvalidFields extends InvalidInput {
  readonly fields: readonly FieldProblem[];

  constructor(fields: readonly FieldProblem[]) {
    super('validation_failed', 'The request has fields that cannot be taken as they are.');
    this.fields = fields;
  }
}

/** Our HTTP statuses of `InvalidInput` and the gRPC codes that mean the same (google.rpc.Code); all others are INVALID_ARGUMENT. */
const codeByHttpStatus: Readonly<Record<number, status>> = {
  401: status.UNAUTHENTICATED,
  403: status.PERMISSION_DENIED,
  404: status.NOT_FOUND,
  409: status.FAILED_PRECONDITION,
};
const httpStatusByCode = new Map(Object.entries(codeByHttpStatus).map(([http, code]) => [code, Number(http)]));

/**
 * Whatever was thrown as the status of a gRPC call: our code in google.rpc.ErrorInfo, the pause that a `Transient` asks for in
 * RetryInfo, the fields of {@link InvalidFields} in BadRequest. A fault of ours is not explained: it is `internal_error` to others.
 */
export function statusOfError(thrown: unknown): GrpcStatus {
  const error = toAppError(thrown);
  const code = codeOf(error);
  const isOurs = error.kind === 'unexpected';
  const reason = isOurs ? 'internal_error' : error.code;
  const message = isOurs ? 'Something went wrong on our side.' : error.message;
  const details: Detail[] = [detail('ErrorInfo', ErrorInfo.encode({ reason, domain: DOMAIN, metadata: {} }))];
  if (error instanceof Transient && error.retryAfterMs !== undefined) {
    const seconds = Math.floor(error.retryAfterMs / 1_000);
    const nanos = Math.round((error.retryAfterMs % 1_000) * 1_000_000);
    details.push(detail('RetryInfo', RetryInfo.encode({ retryDelay: { seconds, nanos } })));
  }
  if (error instanceof InvalidFields) {
    const fieldViolations = error.fields.map(({ path, message: description }) => ({ field: path, description }));
    details.push(detail('BadRequest', BadRequest.encode({ fieldViolations })));
  }
  const metadata = new Metadata();
  metadata.set(DETAILS_KEY, Buffer.from(Status.encode({ code, message, details }).finish()));
  return { code, details: message, metadata };
}

/** The error that the other side threw, out of the status that {@link statusOfError} made of it; undefined for any other status. */
export function errorOfStatus(failed: GrpcStatus): AppError | undefined {
  const details = detailsOf(failed);
  const info = find(details, 'ErrorInfo', ErrorInfo);
  if (info?.domain !== DOMAIN || info.reason === '') return undefined;
  const { reason } = info;
  switch (failed.code) {
    case status.UNAVAILABLE:
      return new Transient(reason, failed.details, { retryAfterMs: retryAfterMs(details) });
    case status.INTERNAL:
      return new Unexpected(reason, failed.details);
    default: {
      const fields = find(details, 'BadRequest', BadRequest)?.fieldViolations;
      if (fields && reason === 'validation_failed') {
        return new InvalidFields(fields.map(({ field, description }) => ({ path: field, message: description })));
      }
      return new InvalidInput(reason, failed.details, { httpStatus: httpStatusByCode.get(failed.code) ?? 422 });
    }
  }
}

function codeOf(error: AppError): status {
  if (error instanceof InvalidInput) return codeByHttpStatus[error.httpStatus] ?? status.INVALID_ARGUMENT;
  return error.kind === 'transient' ? status.UNAVAILABLE : status.INTERNAL;
}

function detail(name: string, encoded: { finish(): Uint8Array }): Detail {
  return { typeUrl: `${TYPE}${name}`, value: encoded.finish() };
}

function detailsOf({ metadata }: GrpcStatus): readonly Detail[] {
  const [bytes] = metadata.get(DETAILS_KEY);
  return Buffer.isBuffer(bytes) ? (decoded(Status, bytes)?.details ?? []) : [];
}

function find<Message>(
  details: readonly Detail[],
  name: string,
  codec: { decode(bytes: Uint8Array): Message },
): Message | undefined {
  const found = details.find(({ typeUrl }) => typeUrl === `${TYPE}${name}`);
  return found && decoded(codec, found.value);
}

/** Undefined for bytes that are not one: what stands between us and the other side may have made them. */
function decoded<Message>(codec: { decode(bytes: Uint8Array): Message }, bytes: Uint8Array): Message | undefined {
  try {
    return codec.decode(bytes);
  } catch {
    return undefined;
  }
}

function retryAfterMs(details: readonly Detail[]): number | undefined {
  const pause = find(details, 'RetryInfo', RetryInfo)?.retryDelay;
  if (!pause) return undefined;
  return Math.min(Math.max(0, pause.seconds * 1_000 + pause.nanos / 1_000_000), MAX_RETRY_AFTER_MS);
}

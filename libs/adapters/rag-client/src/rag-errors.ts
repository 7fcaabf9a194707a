import { type AppError, Transient, Unexpected } from '@answerline/errors';
import { errorOfStatus } from '@answerline/grpc-status';
import { type ServiceError, status } from '@grpc/grpc-js';

/** rag is back within 2 s of its start, and a start takes about 2 s. */
const RETRY_AFTER_MS = 2_000;

/** A failed call as one of our errors: what rag threw, or what happened on the way to it. */
export function toRagError(failed: ServiceError): AppError {
  const context = { grpcStatus: status[failed.code] };
  switch (failed.code) {
    case status.DEADLINE_EXCEEDED:
      return new Transient('rag_timeout', 'rag did not answer in time.', { cause: failed, context });
    case status.UNAUTHENTICATED:
    case status.PERMISSION_DENIED:
      // Ours to mend: whoever asked us had the right to.
      return new Unexpected('rag_token_refused', 'rag does not take our INTERNAL_TOKEN.', { cause: failed, context });
    case status.CANCELLED:
      // Not by us: then nobody reads this any more. A server that ends at once cuts its calls like this.
      return unavailable(failed);
    default:
      return (
        errorOfStatus(failed) ??
        (failed.code === status.UNAVAILABLE
          ? unavailable(failed)
          : new Unexpected('rag_call_failed', 'A call of rag failed.', { cause: failed, context }))
      );
  }
}

function unavailable(failed: ServiceError): Transient {
  return new Transient('rag_unavailable', 'rag cannot be reached.', { cause: failed, retryAfterMs: RETRY_AFTER_MS });
}

import { JetStreamApiError } from '@nats-io/jetstream';
import { errors as coreErrors } from '@nats-io/transport-node';
import { AppError, InvalidInput, Transient, Unexpected } from '@answerline/errors';

/** JetStream's own error numbers: server/errors.json of nats-server. */
const apiErrors = {
  /** JSStreamStoreFailedF: the message was not stored; with discard `new` this is what a full stream answers. */
  storeFailed: 10077,
  /** JSInsufficientResourcesErr and JSStorageResourcesExceededErr: the server's disk allowance is used up. */
  insufficientResources: 10023,
  storageExceeded: 10047,
  /** JSStreamMessageExceedsMaximumErr */
  messageTooLarge: 10054,
  /** JSStreamSubjectOverlapErr */
  subjectOverlap: 10065,
};

/** The connection is away; said without asking the server. */
export function natsUnavailable(cause?: unknown): Transient {
  return new Transient('nats_unavailable', 'The message bus is not reachable at the moment.', { cause });
}

/** An error of the NATS client as one of ours: what the server or the network may overcome is Transient. */
export function fromNatsError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof coreErrors.TimeoutError) {
    return new Transient('nats_timeout', 'The message bus did not answer in time.', { cause: error });
  }
  if (error instanceof JetStreamApiError) return fromApiError(error);
  if (error instanceof coreErrors.InvalidArgumentError && error.message.includes('max_payload')) {
    return tooLarge(error);
  }
  if (
    error instanceof coreErrors.ClosedConnectionError ||
    error instanceof coreErrors.DrainingConnectionError ||
    error instanceof coreErrors.ConnectionError ||
    error instanceof coreErrors.RequestError
  ) {
    return natsUnavailable(error);
  }
  // The client's class for this is not exported: nobody answered a JetStream request. JetStream is off or has no leader,
  // or no stream takes the subject.
  if (error instanceof Error && error.message === 'jetstream is not enabled') {
    return new Transient('nats_no_jetstream', 'No stream took the message: JetStream is off, or not ready.', {
      cause: error,
    });
  }
  return new Unexpected('nats_error', 'The message bus answered with an error.', { cause: error });
}

function fromApiError(error: JetStreamApiError): AppError {
  const context = { natsErrorCode: error.code };
  switch (error.code) {
    case apiErrors.storeFailed:
      return new Transient('stream_full', 'The stream is full.', { cause: error, context });
    case apiErrors.insufficientResources:
    case apiErrors.storageExceeded:
      return new Transient('nats_storage_too_small', 'The NATS server has not enough storage for its streams.', {
        cause: error,
        context,
      });
    case apiErrors.messageTooLarge:
      return tooLarge(error);
    case apiErrors.subjectOverlap:
      return new InvalidInput('nats_subjects_overlap', 'Another stream on this server takes the same subjects.', {
        cause: error,
        context,
      });
    default:
      // `status` is HTTP-like: 503 is "no leader", "not ready" and the like.
      return error.status === 503
        ? new Transient('nats_unavailable', 'JetStream is not ready at the moment.', { cause: error, context })
        : new Unexpected('nats_error', 'JetStream answered with an error.', { cause: error, context });
  }
}

function tooLarge(cause: unknown): InvalidInput {
  return new InvalidInput('message_too_large', 'The message is larger than its stream takes.', {
    cause,
    httpStatus: 413,
  });
}

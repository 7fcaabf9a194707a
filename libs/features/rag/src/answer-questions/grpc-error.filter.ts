import { toAppError } from '@answerline/errors';
import { statusOfError } from '@answerline/grpc-status';
import { LOGGER, type Logger } from '@answerline/logging';
import { Catch, Inject, type RpcExceptionFilter } from '@nestjs/common';
import { type Observable, throwError } from 'rxjs';

/** Ends a call with the status of whatever was thrown, and logs the faults of ours. No other place does. */
@Catch()
export class GrpcErrorFilter implements RpcExceptionFilter {
  readonly #logger: Logger;

  constructor(@Inject(LOGGER) logger: Logger) {
    this.#logger = logger;
  }

  catch(thrown: unknown): Observable<never> {
    const error = toAppError(thrown);
    if (error.kind === 'unexpected') this.#logger.error({ code: error.code, err: error }, 'Call failed');
    else if (error.kind === 'transient') this.#logger.warn({ code: error.code, err: error }, 'Call failed');
    return throwError(() => statusOfError(error));
  }
}

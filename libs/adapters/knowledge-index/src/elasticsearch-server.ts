import { setTimeout as delay } from 'node:timers/promises';
import { AppError, Transient, Unexpected } from '@answerline/errors';
import { Client, errors } from '@elastic/elasticsearch';

/** How long a call may take with all its tries, and how often it is tried. */
export interface CallLimits {
  readonly deadlineMs: number;
  readonly tries: number;
}

/** What is asked of the server. The options belong to every request of it. */
export type ServerCall<T> = (client: Client, options: ServerCallOptions) => Promise<T>;

/** Deadline, and no span: that would carry the server's error texts, which can quote a question. */
export interface ServerCallOptions {
  readonly signal: AbortSignal;
  readonly openTelemetry: { readonly enabled: false };
}

/** Wait before the second try; each later wait is twice as long, up to {@link longestWaitMs}. */
const firstWaitMs = 100;
const longestWaitMs = 3_000;

/** Wrong user or password, for the operator to put right; an index that went away under a call; a slow one. */
const passingStatuses: readonly number[] = [401, 403, 404, 408];

interface ServerError {
  readonly type?: unknown;
}

/** Thrown by a call's work when the server answered, but wants to be asked again. `status` as in HTTP, `reason` the server's code. */
export class AskAgain extends Error {
  readonly status: number;
  readonly reason: string;

  constructor(status: number, reason: string) {
    super(`${status} ${reason}`);
    this.status = status;
    this.reason = reason;
  }
}

/** The client of one Elasticsearch, which sees to tries, deadlines and errors that quote nothing a customer wrote. */
export class ElasticsearchServer {
  readonly #client: Client;

  /** `url` may hold user and password. The client asks this node only, and no other that it might name. */
  constructor(url: string) {
    this.#client = new Client({ node: url, maxRetries: 0, enableMetaHeader: false });
  }

  /**
   * Runs `work`, and again when the server is busy or away, which it must bear. Throws `Transient` `knowledge_index_unavailable` when tries or time are used up, and `Unexpected`
   * `knowledge_index_refused` for a request that the server will never take.
   */
  async call<T>({ deadlineMs, tries }: CallLimits, work: ServerCall<T>): Promise<T> {
    const signal = AbortSignal.timeout(deadlineMs);
    const options: ServerCallOptions = { signal, openTelemetry: { enabled: false } };
    for (let tried = 1; ; tried += 1) {
      try {
        return await work(this.#client, options);
      } catch (error) {
        if (signal.aborted || tried >= tries || !isWorthAnotherTry(error)) throw ourError(error);
      }
      await delay(Math.min(firstWaitMs * 2 ** (tried - 1), longestWaitMs), undefined, { signal }).catch(
        () => undefined,
      );
    }
  }

  close(): Promise<void> {
    return this.#client.close();
  }
}

/** The server says that this index or alias is not there. */
export function isMissing(error: unknown): boolean {
  return error instanceof errors.ResponseError && error.statusCode === 404;
}

/** Whether this status of an answer, or of a part of it, will pass. */
export function isBusy(status: number): boolean {
  return status === 429 || status >= 500;
}

/**
 * The server's code of an error, such as `index_not_found_exception`: of one the client threw, or of a part of an answer. Never its
 * text, which quotes what was sent.
 */
export function reasonOf(error: unknown): string {
  const { type } = (error instanceof errors.ResponseError ? bodyOf(error)?.error : (error as ServerError)) ?? {};
  return typeof type === 'string' && /^[a-z_]{1,80}$/.test(type) ? type : 'unknown';
}

/** `Unexpected` `knowledge_index_refused`: the request itself is wrong. */
export function refused(status: number, reason: string): Unexpected {
  return new Unexpected('knowledge_index_refused', `Elasticsearch refused a request (${status} ${reason}).`, {
    context: { status, reason },
  });
}

function isWorthAnotherTry(error: unknown): boolean {
  if (error instanceof AskAgain) return true;
  if (error instanceof errors.ResponseError) return isBusy(error.statusCode ?? 0);
  return error instanceof errors.ConnectionError || error instanceof errors.TimeoutError;
}

/** The client's errors hold the request, and with it what a customer asked: only codes of them are taken over. */
function ourError(error: unknown): AppError {
  if (error instanceof AppError) return error;
  if (error instanceof AskAgain) return unavailable(`${error.status} ${error.reason}`, error.status);
  if (error instanceof errors.ResponseError) {
    const status = error.statusCode ?? 0;
    const reason = reasonOf(error);
    const passes = isBusy(status) || passingStatuses.includes(status);
    return passes ? unavailable(`${status} ${reason}`, status) : refused(status, reason);
  }
  if (error instanceof errors.ProductNotSupportedError) return unavailable('what answers is not Elasticsearch');
  if (error instanceof errors.RequestAbortedError || error instanceof errors.TimeoutError)
    return unavailable('timeout');
  if (error instanceof errors.ConnectionError) return unavailable(withoutUser(error.message));
  return unavailable(error instanceof Error ? error.name : 'unknown');
}

function bodyOf(error: errors.ResponseError): { readonly error?: ServerError } | undefined {
  return error.body as { readonly error?: ServerError } | undefined;
}

function unavailable(why: string, status?: number): Transient {
  return new Transient('knowledge_index_unavailable', `Elasticsearch cannot be used now: ${why}.`, {
    context: { status },
  });
}

/** The client names the whole URL where it knows no better. */
function withoutUser(message: string): string {
  return message.replaceAll(/\/\/[^/\s]*@/g, '//');
}

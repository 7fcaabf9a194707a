import { Unexpected } from '@answerline/errors';
import { Agent } from 'undici';
import {
  exchange,
  exchangeStreamed,
  type HttpMethod,
  type HttpResponse,
  type RequestHeaders,
  type StreamedResponse,
} from './exchange.ts';

/** A connection that takes longer than this is refused as far as a caller can tell. Also DESIGN's limit between claim and call. */
const startWithinMs = 5_000;

export interface OperatorRequest {
  readonly method?: HttpMethod;
  readonly headers?: RequestHeaders;
  readonly body?: string | Uint8Array;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** Of the answer's body. */
  readonly maxBytes: number;
  /** The request is not begun later than this, by `performance.now()`: 5 s after the call unless told. */
  readonly startBy?: number;
  readonly signal?: AbortSignal;
}

let agent: Agent | undefined;

// The time limits are those of each request. HTTP/1.1 only: with one request on a connection, what was written is certain.
const openAgent = () =>
  new Agent({ allowH2: false, headersTimeout: 0, bodyTimeout: 0, connect: { timeout: startWithinMs } });

/**
 * A request to an address that comes from the settings (Graph API, models), never from a user: see `fetchUntrusted`.
 * Connections are kept open and used again. Redirects are not followed, any status is an answer.
 *
 * @throws OutboundError whose `delivery` says whether the other side can have acted on it;
 *   Unexpected `outbound_request_invalid` for a bad URL, method or header
 */
export async function fetchOperator(url: string | URL, request: OperatorRequest): Promise<HttpResponse> {
  return exchange((agent ??= openAgent()), exchangeOf(url, request));
}

/**
 * Like {@link fetchOperator}, for an answer that is read while it comes: resolves with its head. Time and size limit hold until its
 * last byte. Whoever does not read the body to its end cancels it.
 */
export async function streamOperator(url: string | URL, request: OperatorRequest): Promise<StreamedResponse> {
  return exchangeStreamed((agent ??= openAgent()), exchangeOf(url, request));
}

function exchangeOf(url: string | URL, request: OperatorRequest) {
  const target = URL.parse(String(url));
  if (target === null || !['http:', 'https:'].includes(target.protocol)) {
    throw new Unexpected('outbound_request_invalid', 'Not a valid address of a service.');
  }
  return {
    url: target,
    method: request.method ?? 'GET',
    headers: request.headers ?? {},
    body: request.body,
    timeoutMs: request.timeoutMs,
    startBy: request.startBy ?? performance.now() + startWithinMs,
    maxBytes: request.maxBytes,
    signal: request.signal,
  };
}

/** Closes the connections that {@link fetchOperator} and {@link streamOperator} keep, after the requests on them. The next request opens new ones. */
export async function closeOperatorConnections(): Promise<void> {
  const closing = agent;
  agent = undefined;
  await closing?.close();
}

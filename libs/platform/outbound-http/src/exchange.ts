import { promisify } from 'node:util';
import { brotliDecompress, gunzip } from 'node:zlib';
import { Unexpected } from '@answerline/errors';
import type { Dispatcher } from 'undici';
import { OutboundError, reasonOf, transportError, type OutboundCode } from './outbound-error.ts';

export type HttpMethod = 'GET' | 'HEAD' | 'POST' | 'PUT' | 'PATCH' | 'DELETE';

export type RequestHeaders = Readonly<Record<string, string>>;

export interface HttpResponse {
  readonly status: number;
  /** Names in small letters. */
  readonly headers: Readonly<Record<string, string | string[] | undefined>>;
  /** Already decompressed. */
  readonly body: Buffer;
}

/** An answer whose body is still coming. */
export interface StreamedResponse {
  readonly status: number;
  /** Names in small letters. */
  readonly headers: HttpResponse['headers'];
  /** Errors with an OutboundError when it is cut, too large or too late. Cancelling it ends the request. */
  readonly body: ReadableStream<Uint8Array>;
}

interface Exchange {
  readonly url: URL;
  readonly method: HttpMethod;
  readonly headers: RequestHeaders;
  readonly body: string | Uint8Array | undefined;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** No byte of the request is written later than this, by `performance.now()`: also not by a process that was halted before it. */
  readonly startBy: number;
  /** Of the answer's body, as it comes and after decompression. */
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * One request and its answer, whatever its status. Redirects are not followed.
 * @throws OutboundError; Unexpected `outbound_request_invalid` for a request that HTTP does not allow
 */
export async function exchange(dispatcher: Dispatcher, request: Exchange): Promise<HttpResponse> {
  let status = 0;
  let headers: HttpResponse['headers'] = {};
  const chunks: Buffer[] = [];
  await transfer(dispatcher, request, {
    onHead: (code, given) => {
      status = code;
      headers = given;
    },
    onChunk: (chunk) => chunks.push(chunk),
  });
  const body = await decompress(Buffer.concat(chunks), headers['content-encoding'], request.maxBytes);
  return { status, headers, body };
}

/**
 * Like {@link exchange}, but resolves with the head of the answer; the limits hold for its body too. What is not read yet is kept,
 * up to `maxBytes`. A compressed body is refused: nobody asked for one.
 */
export function exchangeStreamed(dispatcher: Dispatcher, request: Exchange): Promise<StreamedResponse> {
  return new Promise((resolve, reject) => {
    const left = new AbortController();
    const signal = request.signal ? AbortSignal.any([request.signal, left.signal]) : left.signal;
    let reader: ReadableStreamDefaultController<Uint8Array> | undefined;
    const body = new ReadableStream<Uint8Array>({
      start: (controller) => void (reader = controller),
      cancel: () => left.abort(),
    });
    transfer(
      dispatcher,
      { ...request, signal },
      {
        onHead: (status, headers) => {
          if (isPlain(headers['content-encoding'])) return resolve({ status, headers, body });
          reject(new OutboundError('outbound_response_invalid', 'unknown'));
          left.abort();
        },
        onChunk: (chunk) => reader?.enqueue(chunk),
      },
    ).then(
      () => reader?.close(),
      (error: Error) => {
        reject(error);
        reader?.error(error);
      },
    );
  });
}

/** What an answer is given to as it comes. */
interface Receiver {
  readonly onHead: (status: number, headers: HttpResponse['headers']) => void;
  readonly onChunk: (chunk: Buffer) => void;
}

/** Resolves with the last byte of the answer. */
function transfer(dispatcher: Dispatcher, request: Exchange, { onHead, onChunk }: Receiver): Promise<void> {
  const { url, method, headers, body, timeoutMs, startBy, maxBytes, signal } = request;
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let received = 0;
    let isSettled = false;

    // undici calls onRequestStart once it has a connection, right before it writes: until then nothing was sent.
    const wasWritten = () => controller !== undefined;
    const settle = (finish: () => void) => {
      if (isSettled) return;
      isSettled = true;
      clearTimeout(deadline);
      clearTimeout(startDeadline);
      signal?.removeEventListener('abort', onAbort);
      finish();
    };
    const giveUp = (code: OutboundCode) =>
      settle(() => {
        const error = new OutboundError(code, wasWritten() ? 'unknown' : 'not_sent');
        controller?.abort(error);
        reject(error);
      });
    const onAbort = () => giveUp('outbound_aborted');
    const deadline = setTimeout(() => giveUp('outbound_timeout'), timeoutMs);
    const startDeadline = setTimeout(() => giveUp('outbound_timeout'), Math.max(0, startBy - performance.now()));
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) return onAbort();

    dispatcher.dispatch(
      { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers, body: body ?? null },
      {
        onRequestStart: (started) => {
          // A process that was halted hears of its connection before its timers.
          if (performance.now() >= startBy) giveUp('outbound_timeout');
          // Given up while it waited for a connection: it must not go out any more.
          if (isSettled) return started.abort(new Error('Given up before the start'));
          controller = started;
          clearTimeout(startDeadline);
        },
        onResponseStart: (_controller, code, given) => {
          if (code < 200 || isSettled) return;
          if (Number(given['content-length']) > maxBytes && method !== 'HEAD') giveUp('outbound_response_too_large');
          else onHead(code, given);
        },
        onResponseData: (_controller, chunk) => {
          received += chunk.length;
          if (received > maxBytes) giveUp('outbound_response_too_large');
          else if (!isSettled) onChunk(chunk);
        },
        onResponseEnd: () => settle(resolve),
        onResponseError: (_controller, error) =>
          settle(() => {
            const isInvalid = reasonOf(error) === 'UND_ERR_INVALID_ARG';
            if (isInvalid) reject(new Unexpected('outbound_request_invalid', 'Not a valid request.', { cause: error }));
            else reject(transportError(error, { wasWritten: wasWritten(), isTls: url.protocol === 'https:' }));
          }),
      },
    );
  });
}

const decompressors = {
  gzip: promisify(gunzip),
  'x-gzip': promisify(gunzip),
  br: promisify(brotliDecompress),
} as const;

const isPlain = (encoding: string | string[] | undefined) =>
  String(encoding ?? 'identity').toLowerCase() === 'identity';

async function decompress(body: Buffer, encoding: string | string[] | undefined, maxBytes: number): Promise<Buffer> {
  if (isPlain(encoding) || body.length === 0) return body;
  const name = String(encoding).toLowerCase();
  if (!(name in decompressors)) throw new OutboundError('outbound_response_invalid', 'unknown');
  try {
    return await decompressors[name as keyof typeof decompressors](body, { maxOutputLength: maxBytes });
  } catch (cause) {
    const isTooLarge = reasonOf(cause) === 'ERR_BUFFER_TOO_LARGE';
    throw new OutboundError(isTooLarge ? 'outbound_response_too_large' : 'outbound_response_invalid', 'unknown', cause);
  }
}

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

interface Exchange {
  readonly url: URL;
  readonly method: HttpMethod;
  readonly headers: RequestHeaders;
  readonly body: string | Uint8Array | undefined;
  /** From the call to the last byte of the answer. */
  readonly timeoutMs: number;
  /** From the call to the first byte of the request. */
  readonly startWithinMs: number;
  /** Of the answer's body, as it comes and after decompression. */
  readonly maxBytes: number;
  readonly signal: AbortSignal | undefined;
}

/**
 * One request and its answer, whatever its status. Redirects are not followed.
 * @throws OutboundError; Unexpected `outbound_request_invalid` for a request that HTTP does not allow
 */
export async function exchange(dispatcher: Dispatcher, request: Exchange): Promise<HttpResponse> {
  const { status, headers, body } = await transfer(dispatcher, request);
  return { status, headers, body: await decompress(body, headers['content-encoding'], request.maxBytes) };
}

function transfer(dispatcher: Dispatcher, request: Exchange): Promise<HttpResponse> {
  const { url, method, headers, body, timeoutMs, startWithinMs, maxBytes, signal } = request;
  return new Promise((resolve, reject) => {
    let controller: Dispatcher.DispatchController | undefined;
    let status = 0;
    let answerHeaders: HttpResponse['headers'] = {};
    const chunks: Buffer[] = [];
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
    const startDeadline = setTimeout(() => giveUp('outbound_timeout'), startWithinMs);
    signal?.addEventListener('abort', onAbort, { once: true });
    if (signal?.aborted) return onAbort();

    dispatcher.dispatch(
      { origin: url.origin, path: `${url.pathname}${url.search}`, method, headers, body: body ?? null },
      {
        onRequestStart: (started) => {
          // Given up while it waited for a connection: it must not go out any more.
          if (isSettled) return started.abort(new Error('Given up before the start'));
          controller = started;
          clearTimeout(startDeadline);
        },
        onResponseStart: (_controller, code, given) => {
          if (code < 200) return;
          status = code;
          answerHeaders = given;
          if (Number(given['content-length']) > maxBytes && method !== 'HEAD') giveUp('outbound_response_too_large');
        },
        onResponseData: (_controller, chunk) => {
          received += chunk.length;
          if (received > maxBytes) giveUp('outbound_response_too_large');
          else chunks.push(chunk);
        },
        onResponseEnd: () => settle(() => resolve({ status, headers: answerHeaders, body: Buffer.concat(chunks) })),
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

async function decompress(body: Buffer, encoding: string | string[] | undefined, maxBytes: number): Promise<Buffer> {
  const name = String(encoding ?? 'identity').toLowerCase();
  if (name === 'identity' || body.length === 0) return body;
  if (!(name in decompressors)) throw new OutboundError('outbound_response_invalid', 'unknown');
  try {
    return await decompressors[name as keyof typeof decompressors](body, { maxOutputLength: maxBytes });
  } catch (cause) {
    const isTooLarge = reasonOf(cause) === 'ERR_BUFFER_TOO_LARGE';
    throw new OutboundError(isTooLarge ? 'outbound_response_too_large' : 'outbound_response_invalid', 'unknown', cause);
  }
}

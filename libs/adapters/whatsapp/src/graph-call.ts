import { fetchOperator, OutboundError, type HttpMethod } from '@answerline/outbound-http';
import { classifyGraphError, type GraphFailure } from './graph-errors.ts';
import { asObject, type JsonObject } from './json-reading.ts';

/**
 * How a call of the Graph API ended. `refused`: Meta said no, so nothing was done. `not_sent`: the call never reached
 * Meta, so it may be made again. `unknown`: it may have been carried out or not; of a send only the status webhook can
 * tell (DESIGN 3.6). `reason` is a stable snake_case code, without secrets.
 */
export type CallFailure =
  | { readonly outcome: 'refused'; readonly failure: GraphFailure }
  | { readonly outcome: 'not_sent'; readonly reason: string; readonly retryAfterMs?: number | undefined }
  | { readonly outcome: 'unknown'; readonly reason: string };

/** What Meta answered when it did not refuse. */
export interface GraphAnswer {
  readonly outcome: 'answered';
  readonly body: JsonObject;
}

export interface GraphCall {
  readonly method: HttpMethod;
  /** Without credentials in it, but for `appsecret_proof` and the token that `debug_token` is asked about. */
  readonly url: string;
  readonly accessToken: string;
  readonly body?: object | undefined;
  readonly timeoutMs: number;
  /** The request is not begun later than this, by `performance.now()`: 5 s after the call unless told (DESIGN 3.6). */
  readonly startBy?: number | undefined;
  /** Milliseconds since 1970, to read a Retry-After date by. */
  readonly now: () => number;
}

// Answers are a few hundred bytes, errors a few thousand, a page of a hundred numbers some 50 kB.
const MAX_ANSWER_BYTES = 256 * 1024;

/** One request: it never tries again by itself, and it throws nothing but our own bugs. */
export async function callGraph(call: GraphCall): Promise<GraphAnswer | CallFailure> {
  // A header cannot carry anything else, and Meta's tokens hold nothing else.
  if (!/^[\x21-\x7e]+$/.test(call.accessToken)) {
    return { outcome: 'refused', failure: classifyGraphError({ code: 190 }) };
  }
  let response: Awaited<ReturnType<typeof fetchOperator>>;
  try {
    response = await fetchOperator(call.url, {
      method: call.method,
      headers: {
        authorization: `Bearer ${call.accessToken}`,
        ...(call.body === undefined ? {} : { 'content-type': 'application/json' }),
      },
      ...(call.body === undefined ? {} : { body: JSON.stringify(call.body) }),
      timeoutMs: call.timeoutMs,
      maxBytes: MAX_ANSWER_BYTES,
      ...(call.startBy === undefined ? {} : { startBy: call.startBy }),
    });
  } catch (error) {
    if (!(error instanceof OutboundError)) throw error;
    return { outcome: error.delivery, reason: error.code };
  }

  const { status } = response;
  const answer = parseJson(response.body);
  const retryAfterMs = readRetryAfter(response.headers['retry-after'], call.now);
  const failure = classifyGraphError({ status, body: answer });
  if (failure !== undefined) return { outcome: 'refused', failure: { ...failure, retryAfterMs } };
  if (status >= 200 && status < 300) {
    const body = asObject(answer);
    return body === undefined ? { outcome: 'unknown', reason: 'answer_not_json' } : { outcome: 'answered', body };
  }
  // 3xx and 4xx without a Graph error come from something before Meta that did not let the request through; a 408 and
  // a 5xx may have been given after it had.
  const mayHaveArrived = status >= 500 || status === 408;
  return mayHaveArrived
    ? { outcome: 'unknown', reason: `http_${status}` }
    : { outcome: 'not_sent', reason: `http_${status}`, retryAfterMs };
}

/** Retry-After in seconds or as a date (RFC 9110, 10.2.3). */
function readRetryAfter(header: string | string[] | undefined, now: () => number): number | undefined {
  const value = typeof header === 'string' ? header.trim() : header?.[0]?.trim();
  if (value === undefined || value === '') return undefined;
  const waitMs = /^\d{1,9}$/.test(value) ? Number(value) * 1000 : Date.parse(value) - now();
  return Number.isFinite(waitMs) ? Math.max(0, waitMs) : undefined;
}

function parseJson(body: Buffer): unknown {
  try {
    return JSON.parse(body.toString('utf8'));
  } catch {
    return undefined;
  }
}

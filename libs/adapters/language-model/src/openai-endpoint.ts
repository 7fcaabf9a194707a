import { buffer } from 'node:stream/consumers';
import { AppError, InvalidInput, Transient } from '@answerline/errors';
import { fetchOperator, OutboundError, streamOperator, type HttpResponse } from '@answerline/outbound-http';

/** Where models are served, by the protocol of OpenAI. An endpoint that asks for no key (Ollama, vLLM) is called without one. */
export interface OpenAiEndpoint {
  /** With its version, without a closing slash: `https://api.openai.com/v1`. */
  readonly baseUrl: string;
  readonly apiKey: string | undefined;
  /** From the call to the last byte of its answer. */
  readonly timeoutMs: number;
}

/** OpenAI itself. */
export const OPENAI_URL = 'https://api.openai.com/v1';

/** How the errors of one kind of model are called, and the settings that they send the operator to. */
export interface EndpointWords {
  readonly code: 'model' | 'embedder';
  readonly name: string;
  readonly settings: { readonly key: string; readonly model: string; readonly url: string };
}

/** LangChain and the OpenAI client insist on a key. */
const noKey = 'none';

/** What the endpoint will not take, as LangChain sends it. */
export type RefusedParameter = 'max_tokens' | 'max_completion_tokens' | 'reasoning_effort' | 'stream_options';
const refusable: readonly RefusedParameter[] = [
  'max_tokens',
  'max_completion_tokens',
  'reasoning_effort',
  'stream_options',
];

/** A 400 that goes away when a parameter is left out. */
export class ParameterRefused extends InvalidInput {
  readonly parameter: RefusedParameter;

  constructor(words: EndpointWords, parameter: RefusedParameter) {
    super(`${words.code}_refused`, `The ${words.name} does not take a parameter.`, { context: { parameter } });
    this.parameter = parameter;
  }
}

/** The endpoint's own filter refused what the contact or the business wrote. */
export class ContentFiltered extends InvalidInput {
  constructor(words: EndpointWords) {
    super(`${words.code}_refused`, `The ${words.name} filtered the request.`, {
      context: { reason: 'content_filter' },
    });
  }
}

/**
 * One call of an endpoint: gives LangChain its way out, and says afterwards what went wrong. LangChain's own errors carry text of the
 * request and of the answer, so none of them gets any further than here.
 */
export class EndpointCall {
  /** For `configuration` of LangChain's models. Their client reads many variables of the environment; what is given here stands. */
  readonly configuration: {
    readonly baseURL: string;
    readonly apiKey: string;
    readonly organization: null;
    readonly project: null;
    readonly logLevel: 'off';
    readonly fetch: (url: string | URL | Request, init?: RequestInit) => Promise<Response>;
  };
  readonly #words: EndpointWords;
  readonly #signal: AbortSignal;
  #failure: unknown;

  constructor(
    endpoint: OpenAiEndpoint,
    words: EndpointWords,
    options: { readonly signal: AbortSignal; readonly maxBytes: number; readonly streamed?: boolean },
  ) {
    this.#words = words;
    this.#signal = options.signal;
    const { baseUrl, apiKey, timeoutMs } = endpoint;
    const headers = {
      'content-type': 'application/json',
      // Only what is set here: the client would add headers out of the environment, and facts about this machine.
      ...(apiKey === undefined ? {} : { authorization: `Bearer ${apiKey}` }),
    };
    const send = async (url: string | URL | Request, init?: RequestInit): Promise<Response> => {
      const body = typeof init?.body === 'string' ? init.body : '';
      const { signal, maxBytes } = options;
      const request = { method: 'POST', headers, body, timeoutMs, maxBytes, signal } as const;
      const address = url instanceof Request ? url.url : url;
      if (!options.streamed) {
        const answer = await fetchOperator(address, request);
        this.#refuseUnlessOk(answer);
        // Whatever type it claims, it is read as JSON or refused.
        return new Response(new Uint8Array(answer.body), { headers: { 'content-type': 'application/json' } });
      }
      const answer = await streamOperator(address, request);
      if (!isOk(answer.status)) this.#refuseUnlessOk({ ...answer, body: await buffer(answer.body) });
      return new Response(answer.body, { headers: { 'content-type': 'text/event-stream' } });
    };
    this.configuration = {
      baseURL: baseUrl,
      apiKey: apiKey ?? noKey,
      organization: null,
      project: null,
      logLevel: 'off',
      fetch: async (url, init) => {
        try {
          return await send(url, init);
        } catch (error) {
          this.#failure = error;
          throw error;
        }
      },
    };
  }

  /**
   * The result of `work`, which calls a model made with {@link configuration}.
   * @throws the signal's reason; Transient `…_unavailable`, `…_answer_unusable`; InvalidInput `…_refused`, `…_context_exceeded`
   */
  async run<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#signal.throwIfAborted();
    try {
      return await work();
    } catch (error) {
      this.#signal.throwIfAborted();
      const cause = this.#failure ?? error;
      if (cause instanceof OutboundError) throw this.#outboundError(cause);
      if (cause instanceof AppError) throw cause;
      throw this.unusable(cause instanceof Error ? cause.name : 'not_an_error');
    }
  }

  /** The error for an answer that cannot be used. `reason` is a code of ours or the name of an error, never text of the answer. */
  unusable(reason: string): Transient {
    const { code, name } = this.#words;
    return new Transient(`${code}_answer_unusable`, `The ${name} gave an answer that cannot be used.`, {
      context: { reason },
    });
  }

  #outboundError(cause: OutboundError): Transient {
    if (cause.code === 'outbound_response_too_large') return this.unusable(cause.code);
    const { code, name } = this.#words;
    return new Transient(`${code}_unavailable`, `The ${name} did not answer.`, {
      cause,
      context: { reason: cause.code },
    });
  }

  #refuseUnlessOk(answer: HttpResponse): void {
    if (!isOk(answer.status)) throw refusalOf(answer, this.#words, Date.now());
  }
}

const isOk = (status: number): boolean => status >= 200 && status < 300;

/** Statuses that may be another one next time, beside 5xx: time-out, conflict, too early, too many. */
const passing: readonly number[] = [408, 409, 425, 429];
/** How OpenAI, vLLM and others say that a prompt is too long. */
const tooLong =
  /context_length_exceeded|maximum context length|context (?:window|length|size)|exceeds? the configured limit/i;
const saysUnsupported = /unsupported|not supported|unrecogni[sz]ed|unknown|unexpected|not permitted|extra_forbidden/i;

/**
 * The error for an answer with another status than 2xx. Nothing of its text gets into it: endpoints quote keys and prompts.
 * @param now Unix time in ms
 */
export function refusalOf(answer: HttpResponse, words: EndpointWords, now: number): InvalidInput | Transient {
  const { code, name, settings } = words;
  const { status } = answer;
  const text = answer.body.toString();
  const context = { status, reason: codeIn(text) };
  if (status >= 500 || passing.includes(status)) {
    const retryAfterMs = retryAfterOf(answer.headers, now);
    const message = status === 429 ? `The ${name} is busy.` : `The ${name} failed.`;
    return new Transient(`${code}_unavailable`, message, { context, retryAfterMs });
  }
  if (tooLong.test(text)) {
    return new InvalidInput(`${code}_context_exceeded`, `What the ${name} was given is too long for it.`, { context });
  }
  if (status === 401 || status === 403) {
    return new InvalidInput(`${code}_refused`, `The ${name} refused the key: look at ${settings.key}.`, { context });
  }
  if (status === 404 || (status >= 300 && status < 400)) {
    const message = `The ${name} is not there: look at ${settings.model} and ${settings.url}.`;
    return new InvalidInput(`${code}_refused`, message, { context });
  }
  if (context.reason === 'content_filter') return new ContentFiltered(words);
  const parameter = refusedParameter(text);
  if (parameter !== undefined) return new ParameterRefused(words, parameter);
  const message = `The ${name} refused the request: look at ${settings.model}.`;
  return new InvalidInput(`${code}_refused`, message, { context });
}

/** The parameter that an answer complains about: the first that it names, since some name what to send instead. */
function refusedParameter(text: string): RefusedParameter | undefined {
  if (!saysUnsupported.test(text)) return undefined;
  const asParam = refusable.find((name) => new RegExp(`"param"\\s*:\\s*"${name}"`).test(text));
  const named = refusable
    .map((name) => ({ name, at: text.search(new RegExp(`\\b${name}\\b`)) }))
    .filter(({ at }) => at >= 0)
    .toSorted((a, b) => a.at - b.at);
  return asParam ?? named[0]?.name;
}

/** The `code` or `type` out of `{ error: { … } }` or the bare object, when it looks like a code and not like a text. */
function codeIn(text: string): string | undefined {
  try {
    const body = JSON.parse(text) as Record<string, unknown> | null;
    const error = (typeof body?.error === 'object' ? body.error : body) as Record<string, unknown> | null;
    return [error?.code, error?.type].find(
      (value): value is string => typeof value === 'string' && /^[a-zA-Z][\w.-]{0,59}$/.test(value),
    );
  } catch {
    return undefined;
  }
}

/**
 * How long to wait, in ms: `retry-after-ms` of OpenAI and Azure, else `Retry-After` in seconds or as a date (RFC 9110 10.2.3).
 * @param now Unix time in ms
 */
export function retryAfterOf(headers: HttpResponse['headers'], now: number): number | undefined {
  const inMs = Number(headers['retry-after-ms'] ?? NaN);
  if (inMs >= 0) return Math.ceil(inMs);
  const text = String(headers['retry-after'] ?? '').trim();
  if (text === '') return undefined;
  const ms = /^[\d.]+$/.test(text) ? Number(text) * 1_000 : Date.parse(text) - now;
  return Number.isFinite(ms) ? Math.max(0, Math.ceil(ms)) : undefined;
}

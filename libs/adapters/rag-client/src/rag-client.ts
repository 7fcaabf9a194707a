import { Unexpected } from '@answerline/errors';
import { currentCorrelationId } from '@answerline/logging';
import { credentials, Metadata, type CallOptions, type ServiceError } from '@grpc/grpc-js';
import { toRagError } from './rag-errors.ts';
import {
  type AnswerKind,
  type AskEvent,
  type AskResult as AskResultMessage,
  type Author,
  RagServiceClient,
  type SearchMode,
  type SearchResponse,
} from './rag-service.gen.ts';
import { RAG_SERVICE_LIMITS } from './rag-service.ts';

/** Two queries of an index and one embedding, each with a bound of its own, end well before; somebody waits for the page. */
const SEARCH_WITHIN_MS = 10_000;
/** rag gives up on a model after 25 s and answers with the fallback; that must still arrive. */
const ASK_WITHIN_MS = 30_000;
/** After rag was away its next process is found within this time. */
const RECONNECT_WITHIN_MS = 2_000;
/** A machine that vanished answers no ping: a call to it ends after 15 s and not at its deadline. */
const KEEPALIVE_EVERY_MS = 10_000;
const KEEPALIVE_TIMEOUT_MS = 5_000;

/** Where to search, and for what. `limit`: 1 to 50. */
export interface SearchedText {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly text: string;
  readonly limit: number;
}

/** A place in one of the two lists of a search. `rank` counts from 1; `score` is BM25, or the cosine. */
export interface ListPlace {
  readonly rank: number;
  readonly score: number;
}

/** A passage that was found. `score` orders the passages of one answer and says nothing beyond it. */
export interface FoundPassage {
  readonly passageId: string;
  readonly sourceId: string;
  readonly title: string;
  readonly headingPath: string[];
  readonly text: string;
  readonly score: number;
  readonly lexical: ListPlace | null;
  readonly vector: ListPlace | null;
}

/** Passages, best first, and how they were searched. `lexicalReason`: why by words only, as a code. */
export interface SearchResult {
  readonly mode: 'hybrid' | 'lexical';
  readonly lexicalReason: string | null;
  readonly passages: FoundPassage[];
}

/** One message of what was said before. */
export interface EarlierMessage {
  readonly author: 'contact' | 'ai' | 'human';
  readonly text: string;
}

/** A question to a chatbot. `history`: oldest first. */
export interface AskedQuestion {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly question: string;
  readonly history: readonly EarlierMessage[];
}

/** A passage that an answer rests on. `url` is null unless it may be shown. */
export interface Citation {
  readonly passageId: string;
  readonly sourceId: string;
  readonly title: string;
  readonly url: string | null;
}

/** What a question came to. `text` is Markdown; `receiptId` is null for a fallback, which has no receipt. */
export interface AskResult {
  readonly kind: 'answer' | 'abstain' | 'fallback';
  readonly text: string;
  readonly citations: Citation[];
  readonly receiptId: string | null;
}

/**
 * Calls answerline.rag.v1. It connects at the first call, and again by itself after rag was away; until then calls fail at once.
 *
 * Methods throw what rag threw, as the same kind with the same code (`chatbot_not_found`, `validation_failed`,
 * `knowledge_index_unavailable`, …), or one of their own: Transient `rag_unavailable` and `rag_timeout`, Unexpected
 * `rag_token_refused`, `rag_call_failed`. After an abort they reject with the signal's reason.
 */
export class RagClient {
  readonly #client: RagServiceClient;
  readonly #token: string;

  /**
   * @param options.url `grpc://host:port`
   * @param options.token INTERNAL_TOKEN
   */
  constructor({ url, token }: { readonly url: string; readonly token: string }) {
    this.#token = token;
    this.#client = new RagServiceClient(new URL(url).host, credentials.createInsecure(), {
      'grpc.initial_reconnect_backoff_ms': 100,
      // With its jitter of a fifth it stays below the bound.
      'grpc.max_reconnect_backoff_ms': RECONNECT_WITHIN_MS / 1.25,
      // A container that was started again may have another address.
      'grpc.dns_min_time_between_resolutions_ms': RECONNECT_WITHIN_MS,
      'grpc.keepalive_time_ms': KEEPALIVE_EVERY_MS,
      'grpc.keepalive_timeout_ms': KEEPALIVE_TIMEOUT_MS,
      'grpc.max_send_message_length': RAG_SERVICE_LIMITS.requestMaxBytes,
      'grpc.max_receive_message_length': RAG_SERVICE_LIMITS.responseMaxBytes,
      // It is ours and near: neither a proxy of the environment nor settings out of DNS stand between.
      'grpc.enable_http_proxy': 0,
      'grpc.service_config_disable_resolution': 1,
    });
  }

  /** The best passages of a chatbot for a text. */
  async search(searched: SearchedText, options: { readonly signal?: AbortSignal } = {}): Promise<SearchResult> {
    const { signal } = options;
    signal?.throwIfAborted();
    const answer = Promise.withResolvers<SearchResponse>();
    const call = this.#client.search({ ...searched }, this.#metadata(), within(SEARCH_WITHIN_MS), (error, response) =>
      error ? answer.reject(toRagError(error)) : answer.resolve(response),
    );
    return toSearchResult(await endedBy(signal, call, answer.promise));
  }

  /**
   * Asks a question. `onToken` hears the answer piece by piece while it is written; the result's text takes the place of what it heard.
   */
  async ask(
    asked: AskedQuestion,
    options: { readonly signal?: AbortSignal; readonly onToken?: (text: string) => void } = {},
  ): Promise<AskResult> {
    const { signal, onToken } = options;
    signal?.throwIfAborted();
    const { workspaceId, chatbotId, question, history } = asked;
    const request = {
      workspaceId,
      chatbotId,
      question,
      history: history.map(({ author, text }) => ({ author: authors[author], text })),
    };
    const answer = Promise.withResolvers<AskResultMessage>();
    const call = this.#client.ask(request, this.#metadata(), within(ASK_WITHIN_MS));
    call.on('data', ({ token, result }: AskEvent) => {
      if (token !== undefined) onToken?.(token);
      if (result) answer.resolve(result);
    });
    call.on('error', (error) => answer.reject(toRagError(error as ServiceError)));
    call.on('end', () => answer.reject(new Unexpected('rag_call_failed', 'rag ended a stream without a result.')));
    return toAskResult(await endedBy(signal, call, answer.promise));
  }

  /** Ends what is under way and closes the connection. */
  close(): void {
    this.#client.close();
  }

  #metadata(): Metadata {
    const metadata = new Metadata();
    metadata.set('authorization', `Bearer ${this.#token}`);
    const correlationId = currentCorrelationId();
    if (correlationId !== undefined) metadata.set('correlation-id', correlationId);
    return metadata;
  }
}

/** Awaits what a call comes to; an abort cancels the call and rejects at once. */
async function endedBy<Result>(
  signal: AbortSignal | undefined,
  call: { cancel(): void },
  result: Promise<Result>,
): Promise<Result> {
  if (!signal) return result;
  const aborted = Promise.withResolvers<never>();
  const onAbort = (): void => {
    aborted.reject(signal.reason as Error);
    call.cancel();
  };
  signal.addEventListener('abort', onAbort, { once: true });
  try {
    return await Promise.race([result, aborted.promise]);
  } finally {
    signal.removeEventListener('abort', onAbort);
  }
}

const within = (ms: number): Partial<CallOptions> => ({ deadline: Date.now() + ms });

const authors: Readonly<Record<EarlierMessage['author'], Author>> = {
  contact: 'AUTHOR_CONTACT',
  ai: 'AUTHOR_AI',
  human: 'AUTHOR_HUMAN',
};
const modes: Readonly<Partial<Record<SearchMode, SearchResult['mode']>>> = {
  SEARCH_MODE_HYBRID: 'hybrid',
  SEARCH_MODE_LEXICAL: 'lexical',
};
const kinds: Readonly<Partial<Record<AnswerKind, AskResult['kind']>>> = {
  ANSWER_KIND_ANSWER: 'answer',
  ANSWER_KIND_ABSTAIN: 'abstain',
  ANSWER_KIND_FALLBACK: 'fallback',
};

function toSearchResult({ mode, lexicalReason, passages }: SearchResponse): SearchResult {
  return {
    mode: known(modes[mode]),
    lexicalReason: lexicalReason === '' ? null : lexicalReason,
    passages: passages.map((passage) => ({
      ...passage,
      lexical: passage.lexical ?? null,
      vector: passage.vector ?? null,
    })),
  };
}

function toAskResult({ kind, text, citations, receiptId }: AskResultMessage): AskResult {
  return {
    kind: known(kinds[kind]),
    text,
    citations: citations.map((citation) => ({ ...citation, url: citation.url === '' ? null : citation.url })),
    receiptId: receiptId === '' ? null : receiptId,
  };
}

/** A value that this version knows. */
function known<Value>(value: Value | undefined): Value {
  if (value === undefined) throw new Unexpected('rag_call_failed', 'rag answered with a value that is not known here.');
  return value;
}

import { AIMessage, HumanMessage, SystemMessage, type BaseMessage } from '@langchain/core/messages';
import { ChatOpenAICompletions, type ChatOpenAIFields } from '@langchain/openai';
import { ChatModel, type ChatCompletion, type ChatMessage, type ChatRequest, type TokenUsage } from './chat-model.ts';
import {
  ContentFiltered,
  EndpointCall,
  ParameterRefused,
  type EndpointWords,
  type OpenAiEndpoint,
  type RefusedParameter,
} from './openai-endpoint.ts';
import { tokensAbout } from './token-estimate.ts';

/**
 * Tokens on top of a request's `maxOutputTokens`. Many models think before they speak, their endpoints count that in the same limit,
 * and nothing says which models do: without room for it, their answer comes out empty.
 */
const thinkingTokens = 2_000;
/** Of one answer. A streamed token takes 300 bytes, and no request asks for more than a few thousand. */
const maxBytes = 4 * 1024 * 1024;

const words: EndpointWords = {
  code: 'model',
  name: 'chat model',
  settings: { key: 'OPENAI_API_KEY', model: 'CHAT_MODEL', url: 'OPENAI_BASE_URL' },
};

/** Which of the parameters that some endpoints refuse are sent. */
interface Dialect {
  /** Names of the token limit that may still be tried; the first is sent. */
  readonly limits: readonly ('max_tokens' | 'max_completion_tokens')[];
  readonly sendsEffort: boolean;
  readonly asksForStreamUsage: boolean;
}

/** A chat model behind `/chat/completions` of OpenAI, Azure (`…/openai/v1`), vLLM, Ollama and others. */
export class OpenAiChatModel extends ChatModel {
  readonly model: string;
  readonly #endpoint: OpenAiEndpoint;
  /** What LangChain would call the limit, by the model's name. */
  readonly #ownLimit: Dialect['limits'][number];
  /** Learned from what the endpoint refuses: Azure's models have names of the operator, so nothing can be told by them. */
  #dialect: Dialect;

  constructor(options: OpenAiEndpoint & { readonly model: string }) {
    super();
    this.model = options.model;
    this.#endpoint = options;
    const isNewName =
      'max_completion_tokens' in new ChatOpenAICompletions(this.model, { apiKey: 'none' }).invocationParams({});
    this.#ownLimit = isNewName ? 'max_completion_tokens' : 'max_tokens';
    // OpenAI's newer models refuse max_tokens; Ollama knows nothing else and says nothing.
    const other = isNewName ? 'max_tokens' : 'max_completion_tokens';
    this.#dialect = { limits: [this.#ownLimit, other], sendsEffort: true, asksForStreamUsage: true };
  }

  /** Also throws Transient `model_answer_unusable` and InvalidInput `model_context_exceeded`. `onText` must not throw. */
  async complete(request: ChatRequest): Promise<ChatCompletion> {
    for (;;) {
      const dialect = this.#dialect;
      try {
        return await this.#complete(request, dialect);
      } catch (error) {
        if (error instanceof ContentFiltered) return this.#filtered(request);
        const next = error instanceof ParameterRefused ? without(dialect, error.parameter) : undefined;
        if (next === undefined) throw error;
        this.#dialect = next;
      }
    }
  }

  async #complete(request: ChatRequest, dialect: Dialect): Promise<ChatCompletion> {
    const { signal, onText } = request;
    const call = new EndpointCall(this.#endpoint, words, { signal, maxBytes, streamed: onText !== undefined });
    // Made for this call, which takes .03 ms, so that limit, way out and signal are its own.
    const model = new ChatOpenAICompletions(this.#fields(request, dialect, call));
    const messages = request.messages.map(toLangChain);
    // Not invoke() and stream(): they would trace to LangSmith and print prompts if variables of the environment say so.
    const heard = await call.run(() =>
      onText
        ? hear(model, messages, onText)
        : model._generate(messages, {}).then(({ generations }) => said(generations)),
    );
    const text = withoutThinking(heard.text).trim();
    const finishReason = finishReasonOf(heard.finishReason);
    const usage = usageOf(heard, request);
    const isCut = onText !== undefined && heard.finishReason === undefined;
    if (isCut || (text === '' && finishReason !== 'content_filter')) {
      request.onWasted?.(usage);
      throw call.unusable(isCut ? 'stream_cut' : `empty_${finishReason}`);
    }
    return { text, model: heard.model || this.model, usage, finishReason };
  }

  #fields({ maxOutputTokens }: ChatRequest, dialect: Dialect, call: EndpointCall): ChatOpenAIFields {
    const limit = maxOutputTokens + thinkingTokens;
    const [name] = dialect.limits;
    return {
      model: this.model,
      configuration: call.configuration,
      apiKey: call.configuration.apiKey,
      // Trying again is for the caller, who knows until when.
      maxRetries: 0,
      streamUsage: dialect.asksForStreamUsage,
      ...(name === this.#ownLimit && { maxTokens: limit }),
      ...(name !== undefined && name !== this.#ownLimit && { modelKwargs: { [name]: limit } }),
      // LangChain sends it to models of OpenAI that think, and only to them. An answer in a chat should not take half a minute.
      ...(dialect.sendsEffort && { reasoning: { effort: 'low' } }),
    };
  }

  #filtered(request: ChatRequest): ChatCompletion {
    return { text: '', model: this.model, usage: usageOf({ text: '' }, request), finishReason: 'content_filter' };
  }
}

function without(dialect: Dialect, parameter: RefusedParameter): Dialect | undefined {
  if (parameter === 'reasoning_effort') return dialect.sendsEffort ? { ...dialect, sendsEffort: false } : undefined;
  if (parameter === 'stream_options') {
    return dialect.asksForStreamUsage ? { ...dialect, asksForStreamUsage: false } : undefined;
  }
  return dialect.limits[0] === parameter ? { ...dialect, limits: dialect.limits.slice(1) } : undefined;
}

function toLangChain({ role, content }: ChatMessage): BaseMessage {
  // Half a surrogate pair is no Unicode, and some servers fail at it.
  const text = content.toWellFormed();
  switch (role) {
    case 'system':
      return new SystemMessage(text);
    case 'user':
      return new HumanMessage(text);
    case 'assistant':
      return new AIMessage(text);
  }
}

/** What came from the model, before it is checked. */
interface Heard {
  readonly text: string;
  readonly model?: string | undefined;
  readonly finishReason?: string | undefined;
  readonly inputTokens?: number | undefined;
  readonly outputTokens?: number | undefined;
}

type Generation = Awaited<ReturnType<ChatOpenAICompletions['_generate']>>['generations'][number];

function said([first]: readonly Generation[]): Heard {
  if (first === undefined) return { text: '' };
  const { model_name: model } = first.message.response_metadata;
  return { ...countedBy(first), text: textOf(first.text), model: textOf(model), finishReason: finishOf(first) };
}

async function hear(
  model: ChatOpenAICompletions,
  messages: BaseMessage[],
  onText: (piece: string) => void,
): Promise<Heard> {
  let heard: Heard = { text: '' };
  let passedOn = 0;
  for await (const chunk of model._streamResponseChunks(messages, {})) {
    const { text } = chunk;
    const { model_name: name } = chunk.generationInfo ?? {};
    heard = {
      text: heard.text + textOf(text),
      model: textOf(name) || heard.model,
      finishReason: finishOf(chunk) ?? heard.finishReason,
      ...(hasUsage(chunk) ? countedBy(chunk) : { inputTokens: heard.inputTokens, outputTokens: heard.outputTokens }),
    };
    const spoken = withoutThinking(heard.text);
    if (spoken.length > passedOn) onText(spoken.slice(passedOn));
    passedOn = spoken.length;
  }
  return heard;
}

/** Postgres takes no U+0000, and a reply with one could never be stored. */
const textOf = (value: unknown): string => (typeof value === 'string' ? value.replaceAll('\0', '') : '');

function finishOf({ generationInfo }: Generation): string | undefined {
  return textOf(generationInfo?.finish_reason) || undefined;
}

const usageIn = ({ message }: Generation) =>
  (message as { usage_metadata?: { input_tokens?: number; output_tokens?: number } }).usage_metadata;
const hasUsage = (generation: Generation): boolean => usageIn(generation) !== undefined;
function countedBy(generation: Generation): Pick<Heard, 'inputTokens' | 'outputTokens'> {
  const usage = usageIn(generation);
  return { inputTokens: usage?.input_tokens, outputTokens: usage?.output_tokens };
}

/** More than any call can have: an endpoint that says so miscounts, such as one that gives −1 as an unsigned number. */
const maxTokensCounted = 100_000_000;

/** As counted by the endpoint. A prompt or an answer of no tokens is no count, nor is half a token. */
function usageOf(heard: Heard, { messages }: ChatRequest): TokenUsage {
  const { text, inputTokens, outputTokens } = heard;
  const isCount = (value: number | undefined): value is number =>
    Number.isInteger(value) && Number(value) > 0 && Number(value) <= maxTokensCounted;
  if (isCount(inputTokens) && (isCount(outputTokens) || text === '')) {
    return { inputTokens, outputTokens: isCount(outputTokens) ? outputTokens : 0 };
  }
  return {
    inputTokens: messages.reduce((sum, { content }) => sum + tokensAbout(content), 0),
    outputTokens: tokensAbout(text),
    isEstimated: true,
  };
}

function finishReasonOf(reason: string | undefined): ChatCompletion['finishReason'] {
  return reason === 'stop' || reason === 'length' || reason === 'content_filter' ? reason : 'other';
}

/**
 * What is said after thinking aloud: models of some makers do that in `<think>` at the beginning, and not every server takes it out.
 * Nothing as long as they may still be thinking.
 */
export function withoutThinking(text: string): string {
  const start = text.trimStart();
  if (start.length < thinkTag.length ? thinkTag.startsWith(start) : start.startsWith(thinkTag)) {
    const end = start.indexOf('</think>');
    return end < 0 ? '' : start.slice(end + '</think>'.length).trimStart();
  }
  return start;
}
const thinkTag = '<think>';

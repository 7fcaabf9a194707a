import { ConfigError, type Config, type SettingName } from '@answerline/config';
import {
  ExtractiveAnswerer,
  GroundedAnswerer,
  OPENAI_URL,
  OpenAiChatModel,
  OpenAiEmbedder,
  type Answerer,
  type Embedder,
} from '@answerline/language-model';
import { type StartingProcess } from '@answerline/lifecycle';
import { closeOperatorConnections } from '@answerline/outbound-http';

/** What a process reads that answers or embeds. */
export const languageModelSettings = [
  'OPENAI_API_KEY',
  'OPENAI_BASE_URL',
  'CHAT_MODEL',
  'CHAT_MODEL_INPUT_PRICE',
  'CHAT_MODEL_OUTPUT_PRICE',
  'MODEL_TIMEOUT_MS',
  'EMBEDDING_MODEL',
  'EMBEDDING_BASE_URL',
  'EMBEDDING_API_KEY',
] as const satisfies readonly SettingName[];

/** {@link languageModelSettings} as loaded. */
export type LanguageModelConfig = Config<(typeof languageModelSettings)[number]>;

/**
 * The answerer and the embedder of the settings: without a chat model answers are quoted, without an embedding model there is none.
 * Calls nobody, so a model that is away stops no start.
 * @throws ConfigError when the settings do not say which model, or where it is
 */
export function openLanguageModels(
  starting: Pick<StartingProcess, 'onStop'>,
  config: LanguageModelConfig,
): { answerer: Answerer; embedder: Embedder | null } {
  const problems = problemsOf(config);
  if (problems.length > 0) throw new ConfigError(problems);
  const answerer = answererOf(config);
  const embedder = embedderOf(config);
  if (answerer.usesModel || embedder) starting.onStop('model connections', () => closeOperatorConnections());
  return { answerer, embedder };
}

function answererOf(config: LanguageModelConfig): Answerer {
  const { CHAT_MODEL: model, CHAT_MODEL_INPUT_PRICE: input, CHAT_MODEL_OUTPUT_PRICE: output } = config;
  if (model === undefined) return new ExtractiveAnswerer();
  return new GroundedAnswerer({
    model: new OpenAiChatModel({
      model,
      baseUrl: config.OPENAI_BASE_URL ?? OPENAI_URL,
      apiKey: config.OPENAI_API_KEY?.reveal(),
      timeoutMs: config.MODEL_TIMEOUT_MS,
    }),
    prices: input === undefined || output === undefined ? undefined : { input, output },
  });
}

function embedderOf(config: LanguageModelConfig): Embedder | null {
  const { EMBEDDING_MODEL: model, EMBEDDING_BASE_URL: ownUrl, EMBEDDING_API_KEY: ownKey } = config;
  if (model === undefined) return null;
  // The key of one endpoint is not shown to another.
  const key = ownKey ?? (ownUrl === undefined ? config.OPENAI_API_KEY : undefined);
  return new OpenAiEmbedder({
    model,
    baseUrl: ownUrl ?? config.OPENAI_BASE_URL ?? OPENAI_URL,
    apiKey: key?.reveal(),
    timeoutMs: config.MODEL_TIMEOUT_MS,
  });
}

function problemsOf(config: LanguageModelConfig): string[] {
  const isSet = (...names: readonly (keyof LanguageModelConfig)[]) => names.some((name) => config[name] !== undefined);
  const problems: string[] = [];
  if (isSet('CHAT_MODEL') && !isSet('OPENAI_API_KEY', 'OPENAI_BASE_URL')) {
    problems.push(
      'CHAT_MODEL is set, but not where it is: set OPENAI_API_KEY, or OPENAI_BASE_URL for your own endpoint',
    );
  }
  // OPENAI_API_KEY alone is no mistake: many have it in their shell for other programs.
  const usesOpenAi = isSet('CHAT_MODEL') || (isSet('EMBEDDING_MODEL') && !isSet('EMBEDDING_BASE_URL'));
  if (isSet('OPENAI_BASE_URL') && !usesOpenAi) {
    problems.push(
      'OPENAI_BASE_URL is set without CHAT_MODEL: name the model, for example CHAT_MODEL=gpt-5-mini, or unset OPENAI_BASE_URL',
    );
  }
  if (
    isSet('EMBEDDING_MODEL') &&
    !isSet('EMBEDDING_API_KEY', 'EMBEDDING_BASE_URL', 'OPENAI_API_KEY', 'OPENAI_BASE_URL')
  ) {
    problems.push(
      'EMBEDDING_MODEL is set, but not where it is: set OPENAI_API_KEY, or EMBEDDING_BASE_URL for your own endpoint',
    );
  }
  const unused = (['EMBEDDING_BASE_URL', 'EMBEDDING_API_KEY'] as const).find((name) => isSet(name));
  if (unused !== undefined && !isSet('EMBEDDING_MODEL')) {
    problems.push(
      `${unused} is set without EMBEDDING_MODEL: name the model, for example EMBEDDING_MODEL=text-embedding-3-small, or unset ${unused}`,
    );
  }
  if (isSet('CHAT_MODEL_INPUT_PRICE') !== isSet('CHAT_MODEL_OUTPUT_PRICE')) {
    problems.push('CHAT_MODEL_INPUT_PRICE and CHAT_MODEL_OUTPUT_PRICE belong together: set both or none');
  }
  return problems;
}

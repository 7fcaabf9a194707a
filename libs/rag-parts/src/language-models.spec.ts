import { ConfigError, loadConfig, type Environment } from '@answerline/config';
import { describe, expect, it } from '@jest/globals';
import { languageModelSettings, openLanguageModels } from './language-models.ts';

const open = (env: Environment) => {
  const stops: string[] = [];
  const starting = { onStop: (name: string) => void stops.push(name) };
  return { ...openLanguageModels(starting, loadConfig(languageModelSettings, env)), stops };
};
const problemsOf = (env: Environment): readonly string[] => {
  try {
    open(env);
    return [];
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
};

describe('openLanguageModels', () => {
  it('quotes answers and searches words where no model is named', () => {
    const { answerer, embedder, stops } = open({});
    expect([answerer.usesModel, embedder, stops]).toEqual([false, null, []]);
  });

  it('does not mind a key that stands in the shell for other programs', () => {
    expect(open({ OPENAI_API_KEY: 'k' }).answerer.usesModel).toBe(false);
  });

  it.each([
    ['OpenAI', { CHAT_MODEL: 'm', OPENAI_API_KEY: 'k' }],
    ['an endpoint without a key', { CHAT_MODEL: 'm', OPENAI_BASE_URL: 'http://127.0.0.1:9/v1' }],
  ])('answers with the chat model of %s, without calling it', (_what, env) => {
    const { answerer, embedder, stops } = open(env);
    expect([answerer.usesModel, embedder, stops]).toEqual([true, null, ['model connections']]);
  });

  it.each([
    ['the endpoint of the chat model', { OPENAI_API_KEY: 'k' }],
    ['its own', { EMBEDDING_BASE_URL: 'http://127.0.0.1:9/v1' }],
    ['OpenAI with a key of its own', { EMBEDDING_API_KEY: 'k' }],
  ])('embeds at %s', (_what, env) => {
    const { answerer, embedder } = open({ EMBEDDING_MODEL: 'e', ...env });
    expect([answerer.usesModel, embedder?.model]).toEqual([false, 'e']);
  });

  it.each([
    [{ CHAT_MODEL: 'm' }, /^CHAT_MODEL .* set OPENAI_API_KEY, or OPENAI_BASE_URL/],
    [
      { OPENAI_BASE_URL: 'http://planted.example/v1' },
      /^OPENAI_BASE_URL is set without CHAT_MODEL: .* CHAT_MODEL=gpt-5-mini/,
    ],
    [{ EMBEDDING_MODEL: 'e' }, /^EMBEDDING_MODEL .* set OPENAI_API_KEY, or EMBEDDING_BASE_URL/],
    [{ EMBEDDING_API_KEY: 'planted' }, /^EMBEDDING_API_KEY is set without EMBEDDING_MODEL/],
    [{ EMBEDDING_BASE_URL: 'http://planted.example/v1' }, /^EMBEDDING_BASE_URL is set without EMBEDDING_MODEL/],
    [{ CHAT_MODEL_INPUT_PRICE: '1' }, /^CHAT_MODEL_INPUT_PRICE and .* belong together/],
  ])('refuses %j in one line that says what to do', (env, line) => {
    const problems = problemsOf(env);
    expect(problems).toEqual([expect.stringMatching(line)]);
    expect(problems[0]).not.toMatch(/\n|planted/);
  });
});

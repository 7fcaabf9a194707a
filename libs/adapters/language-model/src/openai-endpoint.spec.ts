import { InvalidInput, Transient } from '@answerline/errors';
import { describe, expect, it } from '@jest/globals';
import { ContentFiltered, ParameterRefused, refusalOf, retryAfterOf, type EndpointWords } from './openai-endpoint.ts';
import { withoutThinking } from './openai-chat-model.ts';

const words: EndpointWords = {
  code: 'model',
  name: 'chat model',
  settings: { key: 'OPENAI_API_KEY', model: 'CHAT_MODEL', url: 'OPENAI_BASE_URL' },
};
const refusal = (status: number, body: unknown = '', headers: Record<string, string> = {}) => {
  const text = typeof body === 'string' ? body : JSON.stringify(body);
  return refusalOf({ status, headers, body: Buffer.from(text) }, words, 0);
};

describe('refusalOf', () => {
  it.each([
    [500, 'model_unavailable'],
    [503, 'model_unavailable'],
    [429, 'model_unavailable'],
    [408, 'model_unavailable'],
    [409, 'model_unavailable'],
  ])('of %d passes', (status, code) => {
    expect(refusal(status)).toBeInstanceOf(Transient);
    expect(refusal(status)).toMatchObject({ code, context: { status } });
  });

  it.each([
    [400, 'CHAT_MODEL'],
    [401, 'OPENAI_API_KEY'],
    [403, 'OPENAI_API_KEY'],
    [404, 'CHAT_MODEL and OPENAI_BASE_URL'],
    [301, 'CHAT_MODEL and OPENAI_BASE_URL'],
    [422, 'CHAT_MODEL'],
  ])('of %d is for good, and sends the operator to %s', (status, setting) => {
    const error = refusal(status, { error: { message: 'Incorrect API key: sk-planted', code: 'invalid_api_key' } });
    expect(error).toBeInstanceOf(InvalidInput);
    expect(error).toMatchObject({ code: 'model_refused', context: { status, reason: 'invalid_api_key' } });
    expect(error.message).toContain(`look at ${setting}.`);
    expect(JSON.stringify([error.message, error.context])).not.toContain('planted');
  });

  it.each([
    ['OpenAI', { error: { message: 'Too long', type: 'invalid_request_error', code: 'context_length_exceeded' } }],
    ['vLLM', { object: 'error', message: "This model's maximum context length is 4096 tokens. However, …", code: 400 }],
    [
      'llama.cpp',
      { error: { message: 'the request exceeds the available context size', type: 'exceed_context_size_error' } },
    ],
  ])('says so when the prompt is too long for a model of %s', (_who, body) => {
    expect(refusal(400, body)).toMatchObject({ kind: 'invalid_input', code: 'model_context_exceeded' });
  });

  it.each([
    [
      'max_tokens',
      {
        error: {
          message:
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
          param: 'max_tokens',
          code: 'unsupported_parameter',
        },
      },
    ],
    [
      'max_tokens',
      {
        error: {
          message:
            "Unsupported parameter: 'max_tokens' is not supported with this model. Use 'max_completion_tokens' instead.",
          param: null,
        },
      },
    ],
    [
      'max_completion_tokens',
      { error: { message: 'Unrecognized request argument supplied: max_completion_tokens', param: null } },
    ],
    ['stream_options', { detail: [{ type: 'extra_forbidden', loc: ['body', 'stream_options'] }] }],
    ['reasoning_effort', { error: { message: "Unsupported value: 'reasoning_effort'", param: 'reasoning_effort' } }],
  ])('names %s when the endpoint does not take it', (parameter, body) => {
    const error = refusal(400, body);
    expect(error).toBeInstanceOf(ParameterRefused);
    expect(error).toMatchObject({ code: 'model_refused', parameter });
  });

  it("knows Azure's filter", () => {
    expect(refusal(400, { error: { message: 'Filtered', code: 'content_filter' } })).toBeInstanceOf(ContentFiltered);
  });

  it.each(['<html>', '[]', 'null', '{"error":null}', '{"error":"no"}', '{"error":{"code":"Ünfit text, planted"}}'])(
    'takes any body: %s',
    (body) => {
      expect(refusal(400, body)).toMatchObject({ code: 'model_refused', context: { reason: undefined } });
    },
  );
});

describe('retryAfterOf', () => {
  const now = Date.parse('2026-11-22T10:00:00Z');
  it.each([
    [{}, undefined],
    [{ 'retry-after': '2' }, 2_000],
    [{ 'retry-after': '0.5' }, 500],
    [{ 'retry-after': 'Sun, 22 Nov 2026 10:00:07 GMT' }, 7_000],
    [{ 'retry-after': 'Sun, 22 Nov 2026 09:00:00 GMT' }, 0],
    [{ 'retry-after': 'soon' }, undefined],
    [{ 'retry-after': '1.2.3' }, undefined],
    [{ 'retry-after-ms': '1500', 'retry-after': '2' }, 1_500],
    [{ 'retry-after-ms': 'x', 'retry-after': '2' }, 2_000],
  ])('of %j is %j', (headers, ms) => {
    expect(retryAfterOf(headers, now)).toBe(ms);
  });
});

describe('withoutThinking', () => {
  it.each([
    ['We open.', 'We open.'],
    ['<', ''],
    ['<thi', ''],
    ['<think>Let me see', ''],
    ['\n<think>Let me see</think>\n\nWe open.', 'We open.'],
    ['<b>We open', '<b>We open'],
    ['We <think>', 'We <think>'],
  ])('of %j is %j', (text, spoken) => {
    expect(withoutThinking(text)).toBe(spoken);
  });
});

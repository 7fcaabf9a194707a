import { setTimeout as delay } from 'node:timers/promises';
import {
  eventually,
  groundedReply,
  type PromptMessage,
  startStubOpenAi,
  startTestElasticsearch,
  type StubOpenAi,
  type TestElasticsearch,
} from '@answerline/testing';
import { afterAll } from '@jest/globals';
import { testKills } from './chaos/kill-test.ts';

/** A model that takes its time, and fails now and then. */
const chance = { maxDelayMs: 3_000, failureShare: 0.05 };
/** Long enough for turns to meet it. The start after it takes 8 to 20 s. */
const AWAY_MS = 2_000;

let elasticsearch: TestElasticsearch | undefined;
let stub: StubOpenAi | undefined;

afterAll(async () => {
  await Promise.all([elasticsearch?.stop(), stub?.close()]);
}, 60_000);

/** Answers only what is asked now, so that the answer tells exactly which messages the turn had. */
function replyToLast(messages: readonly PromptMessage[]): string {
  const last = messages.findLast(({ role }) => role === 'user');
  const followUp = /<message-[0-9a-f]+>\n([\s\S]*?)\n<\/message-/.exec(last?.content ?? '')?.[1];
  return followUp ?? groundedReply(last ? [last] : []);
}

testKills('answers every message once, in order, with a model that is slow and fails, on Elasticsearch', {
  settings: async (seed) => {
    [elasticsearch, stub] = await Promise.all([
      startTestElasticsearch(),
      startStubOpenAi({ reply: replyToLast, chance: { seed, ...chance } }),
    ]);
    return { ELASTICSEARCH_URL: elasticsearch.url, OPENAI_BASE_URL: stub.url, CHAT_MODEL: 'stub-chat' };
  },
  misfortune: async (watch) => {
    const turns = await eventually(async () => (await watch.turnsBeingAnswered()) || false, {
      what: 'a turn is being answered',
      timeoutMs: 20_000,
    });
    await elasticsearch?.kill();
    await delay(AWAY_MS);
    await elasticsearch?.restart();
    return `killed elasticsearch with ${String(turns)} turns being answered, and started it again`;
  },
});

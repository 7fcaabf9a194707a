import { startTestElasticsearch, type TestElasticsearch } from '@answerline/testing';
import { afterAll, beforeAll } from '@jest/globals';
import { describePhoneStory } from './phone/phone-story.ts';

let elasticsearch: TestElasticsearch | undefined;

beforeAll(async () => {
  elasticsearch = await startTestElasticsearch();
}, 180_000);
afterAll(() => elasticsearch?.stop(), 60_000);

describePhoneStory('the phone in the browser, on Elasticsearch', () => ({
  ELASTICSEARCH_URL: elasticsearch?.url ?? '',
}));

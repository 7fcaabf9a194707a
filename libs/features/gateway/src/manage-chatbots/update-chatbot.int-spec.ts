import { startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
let key: string;
let path: string;
beforeAll(async () => {
  api = await startTestGateway();
  ({ key } = await api.createWorkspace());
  path = `/chatbots/${await api.createChatbot(key)}`;
});
afterAll(() => api.stop());

const patch = async (body: object) => api.call('PATCH', path, { key, body });

const hours = {
  timeZone: 'Europe/Madrid',
  days: {
    monday: [
      { from: '09:00', to: '14:00' },
      { from: '16:00', to: '24:00' },
    ],
    saturday: [],
  },
};

describe('changing a chatbot', () => {
  it('begins with the usual settings', async () => {
    expect((await api.call('GET', path, { key })).body).toMatchObject({
      aiEnabled: true,
      texts: {},
      handoff: { phrases: null, byModel: false },
      optOut: { stopWords: null, startWords: null },
      businessHours: null,
      notifyEmails: [],
      publicContact: null,
    });
  });

  it('merges: what was not sent stays, also within a setting', async () => {
    await patch({ name: 'Bakery', handoff: { phrases: ['concierge'] }, businessHours: hours });
    await patch({ handoff: { byModel: true }, optOut: { stopWords: ['genug'] }, aiEnabled: false });
    const { status, body } = await patch({ optOut: { startWords: ['weiter'] }, publicContact: '+34 600 000 000' });
    expect([status, body]).toMatchObject([
      200,
      {
        name: 'Bakery',
        aiEnabled: false,
        quietMs: 1500,
        handoff: { phrases: ['concierge'], byModel: true },
        optOut: { stopWords: ['genug'], startWords: ['weiter'] },
        businessHours: hours,
        publicContact: '+34 600 000 000',
      },
    ]);
    expect((await api.call('GET', path, { key })).body).toEqual(body);
  });

  it('takes each text by itself, and null for the usual one', async () => {
    await patch({ texts: { en: { abstain: 'No idea.', fallback: 'Broken.' }, es: { abstain: 'Ni idea.' } } });
    await patch({ texts: { en: { abstain: null, media_notice: 'Text, please.' } } });
    const { body } = await patch({ texts: { es: { abstain: null } } });
    expect(body['texts']).toEqual({ en: { fallback: 'Broken.', media_notice: 'Text, please.' } });
  });

  it('loses no text to another change at the same time', async () => {
    const kinds = ['abstain', 'fallback', 'over_quota', 'limited', 'handoff_confirmation', 'plan_notice'];
    await Promise.all(kinds.map((kind) => patch({ texts: { es: { [kind]: kind } } })));
    const { body } = await api.call('GET', path, { key });
    expect(body['texts']).toMatchObject({ es: Object.fromEntries(kinds.map((kind) => [kind, kind])) });
  });

  it('gives settings back their default with null', async () => {
    const { body } = await patch({
      handoff: { phrases: null },
      optOut: { stopWords: null, startWords: null },
      businessHours: null,
      publicContact: null,
    });
    expect(body).toMatchObject({
      handoff: { phrases: null, byModel: true },
      optOut: { stopWords: null, startWords: null },
      businessHours: null,
      publicContact: null,
    });
  });

  it('with nothing changes nothing', async () => {
    const before = (await api.call('GET', path, { key })).body;
    expect((await patch({})).body).toEqual(before);
  });

  it('is also how one is created', async () => {
    const body = { name: 'Second', aiEnabled: false, businessHours: hours, notifyEmails: ['owner@example.com'] };
    const { status, body: created } = await api.call('POST', '/chatbots', { key, body });
    expect([status, created]).toMatchObject([201, body]);
  });

  it.each<[string, object, string]>([
    [
      'a time zone that there is not',
      { businessHours: { ...hours, timeZone: 'Mars/Olympus' } },
      'businessHours.timeZone',
    ],
    [
      'hours that end before they begin',
      { businessHours: { ...hours, days: { monday: [{ from: '18:00', to: '09:00' }] } } },
      'businessHours.days.monday.0.to',
    ],
    [
      'hours that overlap',
      {
        businessHours: {
          ...hours,
          days: {
            monday: [
              { from: '09:00', to: '14:00' },
              { from: '13:00', to: '15:00' },
            ],
          },
        },
      },
      'businessHours.days.monday',
    ],
    ['no hours at all', { businessHours: { ...hours, days: { monday: [] } } }, 'businessHours.days'],
    [
      'a day that there is not',
      { businessHours: { ...hours, days: { ...hours.days, someday: [] } } },
      'businessHours.days',
    ],
    ['a phrase of one letter', { handoff: { phrases: ['a'] } }, 'handoff.phrases.0'],
    ['no words', { optOut: { stopWords: [] } }, 'optOut.stopWords'],
    ['a text of a kind that has none', { texts: { en: { answer: 'Yes.' } } }, 'texts.en'],
    ['a text in a language that we have not', { texts: { xx: { abstain: 'No.' } } }, 'texts'],
    ['an address that is none', { notifyEmails: ['nobody'] }, 'notifyEmails.0'],
    ['a null that means nothing', { name: null }, 'name'],
    ['a setting that there is not', { colour: 'red' }, ''],
  ])('refuses %s', async (_what, body, field) => {
    const before = (await api.call('GET', path, { key })).body;
    const refused = await patch(body);
    expect([refused.status, refused.body.errors.map(({ path: at }) => at)]).toEqual([422, [field]]);
    expect((await api.call('GET', path, { key })).body).toEqual(before);
  });
});

import { META_BILLS_NOTE, plans } from '@answerline/contracts';
import { newId } from '@answerline/persistence';
import { seedChannel, startTestGateway, type SeededChannel, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { ReadUsage } from './read-usage.ts';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

/** A number of an existing workspace. */
async function addNumber({ workspaceId, channelId }: SeededChannel, phoneNumberId: string): Promise<string> {
  const id = newId();
  await api.database.query(
    `INSERT INTO channels (id, workspace_id, chatbot_id, webhook_key_id, type, state, phone_number_id)
     SELECT $1, workspace_id, chatbot_id, webhook_key_id, type, state, $4 FROM channels WHERE workspace_id = $2 AND id = $3`,
    [id, workspaceId, channelId, phoneNumberId],
  );
  return id;
}

interface SeededStatus {
  readonly message: string;
  readonly status: string;
  readonly pricing?: object | string;
  /** Before the month began; else now. */
  readonly daysBeforeMonth?: number;
}

const regular = { billable: true, pricing_model: 'PMP', type: 'regular', category: 'service' };
const free = { billable: false, pricing_model: 'PMP', type: 'free_customer_service', category: 'service' };

async function addStatuses(where: SeededChannel, channelId: string, statuses: readonly SeededStatus[]): Promise<void> {
  for (const { message, status, pricing, daysBeforeMonth } of statuses) {
    await api.database.query(
      `INSERT INTO statuses (id, workspace_id, channel_id, provider_message_id, dedupe_key, status, pricing, at, received_at)
       VALUES ($1, $2, $3, $4, $5, $6, $7,
               CASE WHEN $8::int IS NULL THEN now() ELSE date_trunc('month', now() AT TIME ZONE 'UTC') AT TIME ZONE 'UTC' - $8 * interval '1 day' END,
               now())`,
      [
        newId(),
        where.workspaceId,
        channelId,
        `wamid.${message}`,
        newId(),
        status,
        pricing === undefined ? null : JSON.stringify(pricing),
        daysBeforeMonth ?? null,
      ],
    );
  }
}

const usageOf = (workspaceId: string) => new ReadUsage(api.database).execute(workspaceId);

describe('GET /usage', () => {
  it('of a new workspace is zero everywhere, with the limits of its plan', async () => {
    const { key } = await api.createWorkspace('growth');
    const { status, body } = await api.call('GET', '/usage', { key });
    const [now] = await api.database.query<{ month: string }>(
      `SELECT to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM') AS month`,
    );
    expect(status).toBe(200);
    expect(body).toEqual({
      month: now?.month,
      timeZone: 'UTC',
      messages: { used: 0, limit: 5_000, byChannel: [] },
      tokens: {
        input: 0,
        output: 0,
        costMicros: null,
        today: {
          used: 0,
          limit: plans.growth.tokensPerDay.workspace,
          limitPerContact: plans.growth.tokensPerDay.contact,
        },
      },
      meta: [],
      note: META_BILLS_NOTE,
    });
    expect(META_BILLS_NOTE).toMatch(/Meta bills .* Answerline adds nothing/);
  });

  it('says what the month’s replies were used on, without those that were given back and those of other months', async () => {
    const channel = await seedChannel(api.database, { plan: 'enterprise' });
    const second = await addNumber(channel, '900000000000001');
    const entry = (channelId: string, sign: 1 | -1, ago = '0 days', turnId = newId()) =>
      api.database.query(
        `INSERT INTO usage_entries (id, workspace_id, month, channel_id, turn_id, sign)
         VALUES ($1, $2, to_char((now() AT TIME ZONE 'UTC') - $6::interval, 'YYYY-MM'), $3, $4, $5)`,
        [newId(), channel.workspaceId, channelId, turnId, sign, ago],
      );
    const givenBack = newId();
    for (let n = 0; n < 3; n += 1) await entry(channel.channelId, 1);
    await entry(channel.channelId, 1, '0 days', givenBack);
    await entry(channel.channelId, -1, '0 days', givenBack);
    await entry(second, 1);
    await entry(second, 1, '32 days');
    await api.database.query(
      `INSERT INTO usage (workspace_id, month, used) VALUES ($1, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), 4)`,
      [channel.workspaceId],
    );
    expect((await usageOf(channel.workspaceId)).messages).toEqual({
      used: 4,
      limit: null,
      byChannel: [
        { channelId: channel.channelId, used: 3 },
        { channelId: second, used: 1 },
      ],
    });
  });

  it('sums the tokens of the month and shows those of today; costs as far as prices were set', async () => {
    const { workspaceId } = await seedChannel(api.database);
    const day = (ago: string, input: number, cost: number | null) =>
      api.database.query(
        `INSERT INTO token_usage (workspace_id, day, input_tokens, output_tokens, cost_micros)
         VALUES ($1, CASE $2 WHEN 'today' THEN to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD')
                     WHEN 'this month' THEN to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM')
                          || CASE WHEN extract(day FROM now() AT TIME ZONE 'UTC') = 1 THEN '-02' ELSE '-01' END
                     ELSE '2020-01-01' END, $3, 1, $4)`,
        [workspaceId, ago, input, cost],
      );
    await day('today', 100, 50);
    await day('this month', 1_000, null);
    await day('long ago', 10_000, 9);
    expect((await usageOf(workspaceId)).tokens).toMatchObject({
      input: 1_100,
      output: 2,
      costMicros: 50,
      today: { used: 101, limit: plans.scale.tokensPerDay.workspace },
    });
  });

  it('counts each delivered message once, whatever carries its price', async () => {
    const channel = await seedChannel(api.database);
    const second = await addNumber(channel, '900000000000002');
    await addStatuses(channel, channel.channelId, [
      { message: 'both', status: 'sent', pricing: regular },
      { message: 'both', status: 'delivered', pricing: regular },
      { message: 'both', status: 'read' },
      { message: 'at-sent', status: 'sent', pricing: free },
      { message: 'at-sent', status: 'delivered' },
      { message: 'read-only', status: 'sent' },
      { message: 'read-only', status: 'read', pricing: { type: 'regular', category: 'utility' } },
      {
        message: 'entry-point',
        status: 'delivered',
        pricing: { type: 'free_entry_point', category: 'referral_conversion' },
      },
      { message: 'no-price', status: 'delivered' },
      { message: 'new-word', status: 'delivered', pricing: { type: 'sponsored', category: 'service' } },
      { message: 'odd', status: 'delivered', pricing: 'free' },
      { message: 'on-its-way', status: 'sent', pricing: regular },
      { message: 'refused', status: 'failed', pricing: regular },
    ]);
    await addStatuses(channel, second, [{ message: 'other-number', status: 'delivered', pricing: regular }]);
    const { meta } = await usageOf(channel.workspaceId);
    const byNumber = new Map(meta.map((number) => [number.phoneNumberId, number]));
    expect(byNumber.get(channel.phoneNumberId)).toEqual({
      phoneNumberId: channel.phoneNumberId,
      delivered: 7,
      free: 2,
      billable: 2,
      byCategory: { service: 3, utility: 1, referral_conversion: 1 },
      unknown: 3,
    });
    expect(byNumber.get('900000000000002')).toMatchObject({ delivered: 1, billable: 1, free: 0, unknown: 0 });
    expect(meta).toHaveLength(2);
  });

  it('goes by type and category: what Meta says of `billable` is going away', async () => {
    const channel = await seedChannel(api.database);
    await addStatuses(channel, channel.channelId, [
      {
        message: 'a',
        status: 'delivered',
        pricing: { billable: true, type: 'free_customer_service', category: 'service' },
      },
      { message: 'b', status: 'delivered', pricing: { billable: false, type: 'regular', category: 'service' } },
    ]);
    expect((await usageOf(channel.workspaceId)).meta).toMatchObject([{ free: 1, billable: 1, unknown: 0 }]);
  });

  it('counts a message in the month in which it arrived', async () => {
    const channel = await seedChannel(api.database);
    await addStatuses(channel, channel.channelId, [
      // Sent in the last month, priced there, arrived in this one.
      { message: 'over-the-edge', status: 'sent', pricing: regular, daysBeforeMonth: 1 },
      { message: 'over-the-edge', status: 'delivered' },
      // Arrived in the last month, read in this one.
      { message: 'read-later', status: 'delivered', pricing: regular, daysBeforeMonth: 2 },
      { message: 'read-later', status: 'read' },
      { message: 'read-much-later', status: 'delivered', pricing: regular, daysBeforeMonth: 50 },
      { message: 'read-much-later', status: 'read' },
    ]);
    expect((await usageOf(channel.workspaceId)).meta).toMatchObject([{ delivered: 1, billable: 1, unknown: 0 }]);
  });

  it('shows nothing of another workspace', async () => {
    const [mine, theirs] = [await seedChannel(api.database), await seedChannel(api.database)];
    await addStatuses(theirs, theirs.channelId, [{ message: 'theirs', status: 'delivered', pricing: regular }]);
    await api.database.query(
      `INSERT INTO token_usage (workspace_id, day, input_tokens, output_tokens)
       VALUES ($1, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM-DD'), 5, 5)`,
      [theirs.workspaceId],
    );
    expect(await usageOf(mine.workspaceId)).toMatchObject({ meta: [], tokens: { input: 0, today: { used: 0 } } });
  });
});

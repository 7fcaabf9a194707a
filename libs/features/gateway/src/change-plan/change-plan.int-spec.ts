import { startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

const setPlan = (id: string, plan: unknown, key = api.operatorKey) =>
  api.call('PUT', `/operator/workspaces/${id}/plan`, { key, body: { plan } });
const channelRow = async (id: string) =>
  (await api.database.query('SELECT state, answers, access_token_ciphertext FROM channels WHERE id = $1', [id]))[0];
const mailsOf = async (workspaceId: string): Promise<unknown[]> =>
  (
    await api.database.query('SELECT kind, about FROM mails WHERE workspace_id = $1 ORDER BY created_at, id', [
      workspaceId,
    ])
  ).map(({ kind, about }) => [kind, about]);
const use = (workspaceId: string, used: number, limit: number) =>
  api.database.query(
    `INSERT INTO usage (workspace_id, month, used, "limit") VALUES ($1, to_char(now() AT TIME ZONE 'UTC', 'YYYY-MM'), $2, $3)
     ON CONFLICT (workspace_id, month) DO UPDATE SET used = excluded.used, "limit" = excluded."limit"`,
    [workspaceId, used, limit],
  );

describe('PUT /operator/workspaces/{id}/plan', () => {
  it('is the operator’s, and takes plans of existing workspaces only', async () => {
    const { id, key } = await api.createWorkspace('growth');
    const byWorkspace = await setPlan(id, 'enterprise', key);
    expect([byWorkspace.status, byWorkspace.body.code]).toEqual([403, 'operator_key_required']);
    expect((await setPlan(id, 'gold')).status).toBe(422);
    expect((await setPlan('00000000-0000-7000-8000-000000000000', 'scale')).status).toBe(404);
    const { status, body } = await setPlan(id, 'scale');
    expect([status, body]).toMatchObject([
      200,
      { workspace: { id, plan: 'scale' }, suspendedChannels: [], resumedChannels: [] },
    ]);
    expect((await api.call('GET', '/usage', { key })).body).toMatchObject({ messages: { limit: 20_000 } });
  });

  it('suspends the numbers on a plan without WhatsApp, keeps their secrets, tells the owner, and lets them resume', async () => {
    const { id, key, channelId } = await api.furnish();
    const before = await channelRow(channelId);
    expect((await setPlan(id, 'starter')).body).toMatchObject({ suspendedChannels: [channelId], resumedChannels: [] });
    expect(await channelRow(channelId)).toEqual({ ...before, state: 'suspended_by_plan', answers: false });
    expect((await api.call('GET', `/channels/${channelId}`, { key })).body).toMatchObject({
      state: 'suspended_by_plan',
      answers: false,
    });
    expect(await mailsOf(id)).toEqual([['channel_suspended', { channelId }]]);

    // Still without: nothing new.
    expect((await setPlan(id, 'free')).body).toMatchObject({ suspendedChannels: [], resumedChannels: [] });
    expect((await setPlan(id, 'growth')).body).toMatchObject({ suspendedChannels: [], resumedChannels: [channelId] });
    expect(await channelRow(channelId)).toEqual(before);
    expect(await mailsOf(id)).toHaveLength(1);
    await setPlan(id, 'free');
    expect(await mailsOf(id)).toHaveLength(2);
  });

  it('leaves a number alone that was switched off', async () => {
    const { id, channelId } = await api.furnish();
    await api.database.query(`UPDATE channels SET state = 'disconnected', answers = false WHERE id = $1`, [channelId]);
    const before = await channelRow(channelId);
    expect((await setPlan(id, 'free')).body).toMatchObject({ suspendedChannels: [] });
    expect((await setPlan(id, 'scale')).body).toMatchObject({ resumedChannels: [] });
    expect(await channelRow(channelId)).toEqual(before);
  });

  it('to a limit that is used up or nearly so tells the owner at once, and once', async () => {
    const { id } = await api.createWorkspace('scale');
    await use(id, 900, 20_000);
    await setPlan(id, 'starter');
    await setPlan(id, 'starter');
    await setPlan(id, 'free');
    const [row] = await api.database.query<{ month: string; used: number; limit: number; warned_percent: number }>(
      'SELECT * FROM usage WHERE workspace_id = $1',
      [id],
    );
    expect(row).toMatchObject({ used: 900, limit: 100, warned_percent: 100 });
    const month = row?.month;
    expect(await mailsOf(id)).toEqual([
      ['quota', { month, percent: 80 }],
      ['quota', { month, percent: 100 }],
    ]);
    const events = await api.database.query<{ data: object }>(
      `SELECT payload -> 'data' AS data FROM outbox WHERE workspace_id = $1 ORDER BY id`,
      [id],
    );
    expect(events.map(({ data }) => data)).toEqual([
      { month, percent: 80, limit: 1_000 },
      { month, percent: 100, limit: 100 },
    ]);
    await setPlan(id, 'enterprise');
    expect(await mailsOf(id)).toHaveLength(2);
  });

  it('that comes while a number is being connected leaves none that answers on a plan without WhatsApp', async () => {
    for (let round = 0; round < 6; round += 1) {
      const { id, key } = await api.createWorkspace('growth');
      const chatbotId = await api.createChatbot(key);
      const connecting = api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body: api.aConnection() });
      // At another moment of it each time.
      for (let statements = 0; statements < round * 8; statements += 1) await api.database.query('SELECT 1');
      const [connected] = await Promise.all([connecting, setPlan(id, 'free')]);
      expect([200, 402]).toContain(connected.status);
      const rows = await api.database.query(
        `SELECT state, answers FROM channels WHERE workspace_id = $1 AND state <> 'draft'`,
        [id],
      );
      expect(rows).toEqual(rows.map(() => ({ state: 'suspended_by_plan', answers: false })));
    }
  });

  it('changes at the same time leave one plan, and channels that fit it', async () => {
    const { id, channelId } = await api.furnish();
    const answers = await Promise.all(
      ['free', 'scale', 'starter', 'growth', 'free', 'scale'].map((plan) => setPlan(id, plan)),
    );
    expect(answers.map(({ status }) => status)).toEqual(answers.map(() => 200));
    const [row] = await api.database.query<{ plan: string }>('SELECT plan FROM workspaces WHERE id = $1', [id]);
    const hasWhatsApp = ['growth', 'scale'].includes(row?.plan ?? '');
    expect(await channelRow(channelId)).toMatchObject({ answers: hasWhatsApp });
  });
});

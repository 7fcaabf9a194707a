import { eventually, startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

describe('the health of a channel, by HTTP', () => {
  it('is checked once a minute, and says when it may be checked again', async () => {
    const { key, channelId } = await api.furnish();
    const check = () => api.call('POST', `/channels/${channelId}/health-checks`, { key });
    const before = await api.call('GET', `/channels/${channelId}/health`, { key });
    expect([before.status, before.body]).toMatchObject([
      200,
      { channelId, checkedAt: null, checks: [], delivery: null },
    ]);
    const first = await check();
    // No ingest runs here, so nobody has read the delivery.
    expect([first.status, first.body]).toMatchObject([
      200,
      {
        channelId,
        ageSeconds: expect.any(Number),
        delivery: { hop: null, code: 'self_test_not_read', httpStatus: 200 },
      },
    ]);
    const second = await check();
    expect([second.status, second.body.code]).toEqual([429, 'checked_a_moment_ago']);
    expect(Number(second.headers.get('retry-after'))).toBeGreaterThan(0);
    expect(Number(second.headers.get('retry-after'))).toBeLessThanOrEqual(60);
    expect((await api.call('GET', `/channels/${channelId}/health`, { key })).body).toMatchObject({
      checkedAt: first.body['checkedAt'],
    });
  });

  it('is nothing for another workspace', async () => {
    const [mine, theirs] = [await api.furnish(), await api.furnish()];
    for (const [method, path] of [
      ['GET', 'health'],
      ['POST', 'health-checks'],
    ] as const) {
      const answer = await api.call(method, `/channels/${theirs.channelId}/${path}`, { key: mine.key });
      expect([answer.status, answer.body.code]).toEqual([404, 'not_found']);
    }
    expect(await api.database.query('SELECT 1 FROM channel_health WHERE channel_id = $1', [theirs.channelId])).toEqual(
      [],
    );
  });

  it('ends before a disconnection does: no call to Meta follows the answer of that', async () => {
    const { key, channelId } = await api.furnish();
    await api.sandbox.faults({ kinds: ['management'], latencyMs: 400 });
    const before = (await api.sandbox.managementCalls()).length;
    const checking = api.call('POST', `/channels/${channelId}/health-checks`, { key });
    await eventually(
      async () => {
        const rows = await api.database.query('SELECT 1 FROM channel_health WHERE channel_id = $1', [channelId]);
        expect(rows).toHaveLength(1);
      },
      { what: 'the check has begun' },
    );
    expect((await api.call('DELETE', `/channels/${channelId}`, { key })).status).toBe(200);
    const calls = (await api.sandbox.managementCalls()).length;
    expect(calls).toBeGreaterThan(before);
    await checking;
    await api.sandbox.faults({});
    expect(await api.sandbox.managementCalls()).toHaveLength(calls);
    const again = await api.call('POST', `/channels/${channelId}/health-checks`, { key });
    expect([again.status, again.body.code]).toEqual([409, 'channel_not_connected']);
    expect(await api.sandbox.managementCalls()).toHaveLength(calls);
  }, 30_000);

  it('moves by itself to live when the first event has come', async () => {
    const { key, channelId } = await api.furnish();
    const state = async () => (await api.call('GET', `/channels/${channelId}`, { key })).body;
    expect(['validated', 'webhook_verified']).toContain((await state())['state']);
    await api.database.query(
      `WITH heard AS (UPDATE channels SET heard_key_id = webhook_key_id, heard_at = now() WHERE id = $1 RETURNING webhook_key_id)
       UPDATE webhook_keys k SET last_signed_at = now() FROM heard WHERE k.id = heard.webhook_key_id`,
      [channelId],
    );
    await eventually(async () => expect(await state()).toMatchObject({ state: 'live', reasons: [] }), {
      what: 'it is live',
    });
  });
});

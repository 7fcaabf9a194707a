import { newId } from '@answerline/persistence';
import { startTestGateway, type TestGateway } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';

let api: TestGateway;
beforeAll(async () => {
  api = await startTestGateway();
});
afterAll(() => api.stop());

describe('the webhook log', () => {
  it('lists what ingest wrote, and finds a body by its hash', async () => {
    const { id: workspaceId, key, channelId } = await api.furnish();
    const sha256 = 'a'.repeat(64);
    const ids = [newId(), newId()];
    for (const [place, id] of ids.entries()) {
      await api.database.query(
        `INSERT INTO webhook_log (id, workspace_id, webhook_key_id, verdict, body_sha256, stream_sequence, found, stored, repeated)
         SELECT $1, $2, webhook_key_id, 'stored', $3, 1, 2, 1, 1 FROM channels WHERE id = $4`,
        [id, workspaceId, place === 0 ? sha256 : 'b'.repeat(64), channelId],
      );
    }
    const first = await api.call('GET', '/webhook-log?limit=1', { key });
    expect(first.body).toMatchObject({ items: [{ id: ids[1], found: 2, stored: 1, repeated: 1 }], nextCursor: ids[1] });
    expect((await api.call('GET', `/webhook-log?cursor=${ids[1]}`, { key })).body.items).toMatchObject([
      { id: ids[0] },
    ]);
    expect((await api.call('GET', `/webhook-log?sha256=${sha256}`, { key })).body.items).toMatchObject([
      { id: ids[0], bodySha256: sha256 },
    ]);
    expect((await api.call('GET', '/webhook-log?sha256=x', { key })).status).toBe(422);
  });
});

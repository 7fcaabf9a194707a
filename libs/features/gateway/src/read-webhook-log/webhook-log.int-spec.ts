import { createHash, randomUUID } from 'node:crypto';
import { webhookSubject } from '@answerline/contracts';
import { StoreWebhooks } from '@answerline/feature-ingest';
import { createLogger } from '@answerline/logging';
import { DELETION_MARKS_PURPOSE, newId } from '@answerline/persistence';
import { eventually, type FurnishedWorkspace, startTestGateway, type TestGateway } from '@answerline/testing';
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

describe('a replay', () => {
  const ingest = async () => {
    const logger = createLogger({ app: 'spec', level: 'silent' });
    const store = new StoreWebhooks(api.database, logger, api.secretBox.fingerprints(DELETION_MARKS_PURPOSE));
    return api.bus.startConsumer({
      stream: 'WEBHOOKS',
      consumer: 'ingest',
      concurrency: 1,
      batchSize: 1,
      handle: async (deliveries) => void (await store.execute(deliveries)),
      logger,
    });
  };

  const keyOf = async ({ channelId }: FurnishedWorkspace): Promise<string> => {
    const [row] = await api.database.query<{ id: string }>(`SELECT webhook_key_id AS id FROM channels WHERE id = $1`, [
      channelId,
    ]);
    return row?.id ?? '';
  };

  /** Publishes a body as the door does. */
  const publish = async (workspace: FurnishedWorkspace) => {
    const keyId = await keyOf(workspace);
    const metadata = { display_phone_number: '1', phone_number_id: workspace.phoneNumberId };
    const message = {
      id: `wamid.${randomUUID()}`,
      from: '12025550123',
      timestamp: String(Math.floor(Date.now() / 1_000)),
      type: 'text',
      text: { body: 'When do you open?' },
    };
    const changes = [{ field: 'messages', value: { messaging_product: 'whatsapp', metadata, messages: [message] } }];
    const data = Buffer.from(JSON.stringify({ object: 'whatsapp_business_account', entry: [{ id: '1', changes }] }));
    const sha256 = createHash('sha256').update(data).digest('hex');
    const subject = webhookSubject(workspace.id, keyId);
    const { sequence } = await api.bus.publish(subject, data, { messageId: `${keyId}:${sha256}` });
    return { keyId, sha256, sequence, wamid: message.id };
  };

  const entriesOf = async ({ key }: FurnishedWorkspace, sha256: string) =>
    (await api.call('GET', `/webhook-log?sha256=${sha256}`, { key })).body.items;

  it('gives the body to ingest again, each time, and nothing is stored twice', async () => {
    const consumer = await ingest();
    const workspace = await api.furnish();
    const { sha256, wamid } = await publish(workspace);
    const entries = (count: number) =>
      eventually(
        async () => {
          const found = await entriesOf(workspace, sha256);
          expect(found).toHaveLength(count);
          return found;
        },
        { what: `${String(count)} entries are in the log` },
      );
    const [entry] = await entries(1);
    const replay = () => api.call('POST', `/webhook-log/${entry?.id ?? ''}/replay`, { key: workspace.key });
    expect(await replay()).toMatchObject({
      status: 202,
      body: { webhookLogId: entry?.id, bodySha256: sha256, replay: 1 },
    });
    await entries(2);
    expect((await replay()).body).toMatchObject({ replay: 2 });
    const [third, second, first] = await entries(3);
    expect([first, second, third]).toMatchObject([
      { verdict: 'stored', stored: 1, repeated: 0, replays: 2 },
      { verdict: 'repeated', stored: 0, repeated: 1 },
      { verdict: 'repeated', stored: 0, repeated: 1 },
    ]);
    // What the replay left in the log can be replayed too.
    expect(
      (await api.call('POST', `/webhook-log/${third?.id ?? ''}/replay`, { key: workspace.key })).body,
    ).toMatchObject({
      replay: 3,
    });
    await entries(4);
    await consumer.stop(5_000);
    expect(
      await api.database.query('SELECT 1 FROM messages WHERE workspace_id = $1 AND provider_message_id = $2', [
        workspace.id,
        wamid,
      ]),
    ).toHaveLength(1);
  });

  it('is refused with a code for what was refused, what is gone and what is not there', async () => {
    const workspace = await api.furnish();
    const { keyId, sha256, sequence } = await publish(workspace);
    const addEntry = async (fields: { verdict: string; sha256: string | null; sequence: number | null }) => {
      const id = newId();
      await api.database.query(
        `INSERT INTO webhook_log (id, workspace_id, webhook_key_id, verdict, body_sha256, stream_sequence)
         VALUES ($1, $2, $3, $4, $5, $6)`,
        [id, workspace.id, keyId, fields.verdict, fields.sha256, fields.sequence],
      );
      return id;
    };
    const replay = async (id: string, key = workspace.key) => {
      const { status, body } = await api.call('POST', `/webhook-log/${id}/replay`, { key });
      return [status, body.code];
    };
    const refused = await addEntry({ verdict: 'bad_signature', sha256: null, sequence: null });
    expect(await replay(refused)).toEqual([409, 'delivery_refused']);
    const aged = await addEntry({ verdict: 'stored', sha256, sequence: sequence + 1_000_000 });
    expect(await replay(aged)).toEqual([404, 'delivery_gone']);
    // At this place of the stream lies another body, or one of another key.
    const other = await addEntry({ verdict: 'stored', sha256: 'a'.repeat(64), sequence });
    expect(await replay(other)).toEqual([404, 'delivery_gone']);
    const theirs = await api.furnish();
    const published = await publish(theirs);
    const crossed = await addEntry({ verdict: 'stored', sha256: published.sha256, sequence: published.sequence });
    expect(await replay(crossed)).toEqual([404, 'delivery_gone']);
    expect(await replay(newId())).toEqual([404, 'not_found']);
    expect(await replay(refused, theirs.key)).toEqual([404, 'not_found']);
  });
});

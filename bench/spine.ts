import { readFileSync } from 'node:fs';
import { AckPolicy, jetstreamManager, type JsMsg } from '@nats-io/jetstream';
import {
  ElasticsearchKnowledgeIndex,
  fuse,
  LanceKnowledgeIndex,
  type IndexedPassage,
} from '@answerline/knowledge-index';
import { Pool } from 'pg';
import { Agent, request } from 'undici';
import { bareWebhook, type BareWebhookOptions } from './bare-webhook.ts';
import { processOptions } from './process-options.ts';

/** What the spine takes. */
export interface SpineOptions extends BareWebhookOptions {
  /** An empty database. */
  readonly databaseUrl: string;
  readonly indexFolder: string;
  /** A JSON file of IndexedPassage[]. */
  readonly passagesFile: string;
  /** Else LanceDB in `indexFolder`. */
  readonly elasticsearchUrl?: string | undefined;
  /** An OpenAI-compatible endpoint that embeds and answers; else the best passage is the answer. */
  readonly modelUrl?: string | undefined;
  /** Base of the Graph API with its version. */
  readonly graphUrl: string;
  readonly accessToken: string;
}

/** Bodies at work at once: more would only wait for Postgres and the index. */
const concurrency = 16;
const searchSize = 10;
/** Of each list, as the product does. */
const listSize = 50;

/**
 * The floor of bench/turn.ts: one process that does what any such product must, and nothing else. A webhook is checked,
 * stored in the stream and acknowledged; a message becomes a search, with a model two bare requests to it, and one transaction with the message exactly once, the
 * reply and the send, then the Graph call; read and typing go out beside it; a status is one insert. No queue, no lease, no
 * attempts, no quota, no events, no log: whatever dies on the way is lost or done twice.
 */
async function run(options: SpineOptions): Promise<void> {
  const pool = new Pool({ connectionString: options.databaseUrl, max: concurrency });
  await pool.query(schema);
  const dispatcher = new Agent({ allowH2: false });
  const { modelUrl, elasticsearchUrl } = options;
  const askModel = async (path: string, body: object): Promise<unknown> => {
    const response = await request(`${modelUrl ?? ''}${path}`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify(body),
      dispatcher,
    });
    return response.body.json();
  };
  const embed = async (input: readonly string[]): Promise<readonly (readonly number[])[]> => {
    const { data } = (await askModel('/embeddings', { model: 'bench', input })) as { data: { embedding: number[] }[] };
    return data.map(({ embedding }) => embedding);
  };
  const complete = async (content: string): Promise<string> => {
    const answer = await askModel('/chat/completions', { model: 'bench', messages: [{ role: 'user', content }] });
    return (answer as { choices: { message: { content: string } }[] }).choices[0]?.message.content ?? '';
  };

  const index =
    elasticsearchUrl === undefined
      ? await LanceKnowledgeIndex.open({ folder: options.indexFolder, mode: 'write' })
      : ElasticsearchKnowledgeIndex.open({ url: elasticsearchUrl });
  const bare = JSON.parse(readFileSync(options.passagesFile, 'utf8')) as IndexedPassage[];
  const vectors = modelUrl === undefined ? [] : await embed(bare.map(({ text }) => text));
  const passages = bare.map((passage, place) => {
    const vector = vectors[place];
    return vector === undefined ? passage : { ...passage, vector };
  });
  const dimensions = vectors[0]?.length;
  const version = index.versionFor(
    '00000000-0000-7000-8000-000000000001',
    dimensions === undefined ? undefined : { model: 'bench', dimensions },
  );
  await index.addPassages(version, passages);
  const texts = new Map(passages.map(({ passageId, text }) => [passageId, text]));

  const callGraph = async (phoneNumberId: string, body: object): Promise<void> => {
    const response = await request(`${options.graphUrl}/${phoneNumberId}/messages`, {
      method: 'POST',
      headers: { authorization: `Bearer ${options.accessToken}`, 'content-type': 'application/json' },
      body: JSON.stringify(body),
      dispatcher,
    });
    const answer = await response.body.text();
    if (response.statusCode !== 200) throw new Error(`Graph answered ${response.statusCode}: ${answer}`);
  };

  /** False: it was there already. */
  const store = async (message: WebhookMessage, reply: string): Promise<boolean> => {
    const client = await pool.connect();
    try {
      await client.query('BEGIN');
      const values = [message.id, message.from, message.text?.body, JSON.stringify(message)];
      const inserted = await client.query({ name: 'message', text: insertMessage, values });
      if (inserted.rowCount === 1) {
        await client.query({ name: 'reply', text: insertReply, values: [message.id, reply] });
        await client.query({ name: 'send', text: insertSend, values: [message.id, message.from] });
      }
      await client.query('COMMIT');
      return inserted.rowCount === 1;
    } finally {
      client.release();
    }
  };

  const answerTo = async (question: string): Promise<string> => {
    const [vector] = modelUrl === undefined ? [] : await embed([question]);
    const query = { text: question, k: vector ? listSize : searchSize, ...(vector && { vector }) };
    const found = fuse(await index.search(version, query)).slice(0, searchSize);
    const known = found.map(({ passageId }) => texts.get(passageId) ?? '');
    if (modelUrl === undefined) return known[0] ?? 'I do not know.';
    return complete(`${known.join('\n\n')}\n\n${question}`);
  };

  const answer = async (phoneNumberId: string, message: WebhookMessage): Promise<void> => {
    const presence = callGraph(phoneNumberId, {
      messaging_product: 'whatsapp',
      status: 'read',
      message_id: message.id,
      typing_indicator: { type: 'text' },
    });
    const reply = await answerTo(message.text?.body ?? '');
    if (await store(message, reply)) {
      await callGraph(phoneNumberId, {
        messaging_product: 'whatsapp',
        to: `+${message.from}`,
        type: 'text',
        text: { body: reply },
        context: { message_id: message.id },
        biz_opaque_callback_data: message.id,
      });
    }
    await presence;
  };

  const handle = async (stored: JsMsg): Promise<void> => {
    const { entry } = stored.json<WebhookBody>();
    for (const { value } of entry.flatMap(({ changes }) => changes)) {
      for (const message of value.messages ?? []) await answer(value.metadata.phone_number_id, message);
      for (const status of value.statuses ?? []) {
        await pool.query({ name: 'status', text: insertStatus, values: [status.id, status.status] });
      }
    }
    stored.ack();
  };

  const { app, connection, client } = await bareWebhook(options);
  const manager = await jetstreamManager(connection);
  const consumer = { durable_name: 'spine', ack_policy: AckPolicy.Explicit, max_ack_pending: concurrency };
  await manager.consumers.add(options.stream, consumer);
  const messages = await (await client.consumers.get(options.stream, consumer.durable_name)).consume();
  console.log(`READY ${await app.listen({ host: '127.0.0.1', port: 0 })}/hook`);
  for await (const stored of messages) void handle(stored);
}

interface WebhookMessage {
  readonly id: string;
  readonly from: string;
  readonly text?: { readonly body: string };
}

interface WebhookBody {
  readonly entry: readonly {
    readonly changes: readonly {
      readonly value: {
        readonly metadata: { readonly phone_number_id: string };
        readonly messages?: readonly WebhookMessage[];
        readonly statuses?: readonly { readonly id: string; readonly status: string }[];
      };
    }[];
  }[];
}

const schema = `
  CREATE TABLE messages (id text PRIMARY KEY, sender text NOT NULL, text text, raw json NOT NULL);
  CREATE TABLE replies (message_id text PRIMARY KEY REFERENCES messages, text text NOT NULL);
  CREATE TABLE sends (message_id text PRIMARY KEY REFERENCES messages, recipient text NOT NULL);
  CREATE TABLE statuses (message_id text, status text, PRIMARY KEY (message_id, status))`;
const insertMessage = `INSERT INTO messages (id, sender, text, raw) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`;
const insertReply = `INSERT INTO replies (message_id, text) VALUES ($1, $2)`;
const insertSend = `INSERT INTO sends (message_id, recipient) VALUES ($1, $2)`;
const insertStatus = `INSERT INTO statuses (message_id, status) VALUES ($1, $2) ON CONFLICT DO NOTHING`;

await run(processOptions<SpineOptions>());

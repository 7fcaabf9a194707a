import { randomBytes, randomInt } from 'node:crypto';
import { type Answerer } from '@answerline/language-model';
import { type Database } from '@answerline/persistence';
import { type JournalEntry } from '@answerline/sandbox';
import { eventually, type TestSandbox } from '@answerline/testing';
import { startWholeProduct } from '../whole-product.ts';

export interface ApiAnswer<Body = Record<string, unknown>> {
  readonly status: number;
  readonly body: Body;
}

/** A business on one number, with all of the product's parts at work and the sandbox as Meta. */
export interface Office {
  readonly database: Database;
  readonly sandbox: TestSandbox;
  readonly phoneNumberId: string;
  readonly chatbotId: string;
  readonly channelId: string;
  readonly workspaceId: string;
  call<Body = Record<string, unknown>>(method: string, path: string, body?: object): Promise<ApiAnswer<Body>>;
  /** A contact of their own for each situation. */
  stranger(): string;
  /** The contact writes; resolves to Meta's id. */
  write(waId: string, text: string): Promise<string>;
  /** Any webhook, as Meta would sign and deliver it. */
  deliver(field: string, value: object): Promise<void>;
  /** What Meta accepted for the contact, oldest first. */
  bubbles(waId: string): Promise<JournalEntry[]>;
  untilBubbles(waId: string, count: number): Promise<JournalEntry[]>;
  /** Resolves when no turn is due and no send waits or is under way. */
  untilQuiet(): Promise<void>;
  /** The conversation's row. */
  conversation(waId: string): Promise<ConversationRow>;
  close(): Promise<void>;
}

export interface ConversationRow {
  readonly id: string;
  readonly owner: 'ai' | 'human';
  readonly held_by: string | null;
  readonly epoch: number;
  readonly muted_until: Date | null;
  readonly opted_out_at: Date | null;
  readonly inbound_seq: number;
  readonly answered_seq: number;
}

/** Short, so that tests are quick. */
const QUIET_MS = 100;
const READY_MS = 20_000;

/** Opens it. With two workers, rag and notifier are there twice. */
export async function openOffice(answerer: Answerer, workers: 1 | 2 = 1): Promise<Office> {
  const product = await startWholeProduct(answerer, workers);
  const { database, sandbox } = product;
  let apiKey = product.operatorKey;
  const call: Office['call'] = (method, path, body) => product.call(apiKey, method, path, body);
  const made = async <Body>(method: string, path: string, body: object): Promise<Body> => {
    const { status, body: answer } = await call<Body>(method, path, body);
    if (status >= 300) throw new Error(`${method} ${path}: ${String(status)} ${JSON.stringify(answer)}`);
    return answer;
  };
  const meta = {
    appId: '1001',
    wabaId: '1002',
    phoneNumberId: '1003',
    accessToken: `EAA${randomBytes(12).toString('hex')}`,
    appSecret: randomBytes(16).toString('hex'),
  };
  const { phoneNumberId, ...settings } = meta;
  await sandbox.control('PUT', `/numbers/${phoneNumberId}`, {
    ...settings,
    displayPhoneNumber: '+1 202 555 0199',
    verifiedName: 'Bakery',
  });
  const { workspace, apiKey: key } = await made<{ workspace: { id: string }; apiKey: string }>('POST', '/workspaces', {
    name: 'Bakery',
    plan: 'scale',
  });
  apiKey = key;
  const chatbot = await made<{ id: string }>('POST', '/chatbots', {
    name: 'Bakery',
    quietMs: QUIET_MS,
    quietMaxMs: 4 * QUIET_MS,
  });
  const channel = await made<{ id: string }>('PUT', `/chatbots/${chatbot.id}/channels/whatsapp`, meta);
  await sandbox.delivery({ paused: false, statusDelaysMs: { sent: 20, delivered: 40, read: 60 }, autoRead: false });

  const bubbles: Office['bubbles'] = async (waId) =>
    (await sandbox.calls({ phoneNumberId })).filter(({ to }) => to === `+${waId}`);
  return {
    database,
    sandbox,
    phoneNumberId,
    chatbotId: chatbot.id,
    channelId: channel.id,
    workspaceId: workspace.id,
    call,
    stranger: () => `1202555${String(randomInt(10 ** 7, 10 ** 8))}`,
    write: async (waId, text) => {
      const sent = await sandbox.control<{ messageId: string }>('POST', '/messages', { phoneNumberId, waId, text });
      return sent.messageId;
    },
    deliver: async (field, value) => {
      const metadata = { display_phone_number: '12025550199', phone_number_id: phoneNumberId };
      const around = field === 'messaging_handovers' ? { recipient: metadata } : { metadata };
      const change = { field, value: { messaging_product: 'whatsapp', ...around, ...value } };
      const body = { object: 'whatsapp_business_account', entry: [{ id: meta.wabaId, changes: [change] }] };
      await sandbox.control('POST', '/webhooks', { phoneNumberId, body });
    },
    bubbles,
    untilBubbles: async (waId, count) => {
      await eventually(async () => (await bubbles(waId)).length >= count, {
        what: `${String(count)} bubbles are accepted`,
        timeoutMs: READY_MS,
      });
      return bubbles(waId);
    },
    untilQuiet: async () => {
      await eventually(
        async () => {
          const open = await database.query<{ what: string; n: number }>(
            `SELECT 'turns' AS what, count(*)::int AS n FROM conversations WHERE due_at IS NOT NULL HAVING count(*) > 0
             UNION ALL
             SELECT concat_ws(' ', 'sends', author, phase, failure), count(*)::int FROM sends
             WHERE phase IN ('pending', 'retry', 'sending', 'unknown') GROUP BY author, phase, failure`,
          );
          if (open.length > 0) throw new Error(open.map(({ what, n }) => `${String(n)} ${what}`).join(', '));
        },
        { what: 'nothing waits', timeoutMs: 3 * READY_MS },
      );
    },
    conversation: async (waId) => {
      const [row] = await database.query<ConversationRow & Record<string, unknown>>(
        `SELECT c.* FROM conversations c JOIN contact_identities i ON i.contact_id = c.contact_id
         WHERE i.kind = 'wa_id' AND i.value = $1`,
        [waId],
      );
      if (!row) throw new Error('The contact has no conversation yet.');
      return row;
    },
    close: () => product.close(),
  };
}

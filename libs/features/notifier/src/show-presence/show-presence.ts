import { CALL_START_LIMIT_MS, TURN_PATIENCE_MS } from '@answerline/conversation-rules';
import { type Logger } from '@answerline/logging';
import { type Database } from '@answerline/persistence';
import { type SecretBox } from '@answerline/secrets';
import { type GraphClient } from '@answerline/whatsapp';

/** Meta marks messages as read for 30 days. */
const TICKS_MAX_AGE_DAYS = 30;
/** Ids that we made ourselves for messages that came without one. */
const OWN_MESSAGE_ID = /^[0-9a-f]{64}$/;

interface PresenceRow {
  conversation_id: string;
  workspace_id: string;
  channel_id: string;
  provider_message_id: string;
  phone_number_id: string;
  access_token_ciphertext: string;
  is_typing: boolean;
}

/**
 * Blue ticks for received messages, and "typing…" where an answer is on its way, in one Graph call a conversation: marking the
 * newest message marks those before it. None while a human holds: ticks would say that somebody has read it.
 * Nothing depends on them, so a call that fails is only logged.
 */
export class ShowPresence {
  readonly #database: Database;
  readonly #graph: GraphClient;
  readonly #secrets: SecretBox;
  readonly #logger: Logger;

  constructor(database: Database, graph: GraphClient, secrets: SecretBox, logger: Logger) {
    this.#database = database;
    this.#graph = graph;
    this.#secrets = secrets;
    this.#logger = logger;
  }

  /** @param messageIds our ids of messages that were just received */
  async execute(messageIds: readonly string[]): Promise<void> {
    const askedAt = performance.now();
    const rows = await this.#database.query<PresenceRow>(
      {
        name: 'presence',
        text: `SELECT DISTINCT ON (m.conversation_id) m.conversation_id, m.workspace_id, m.channel_id, m.provider_message_id,
                      ch.phone_number_id, ch.access_token_ciphertext,
                      m.number IS NOT NULL AND c.answered_seq < m.number AND b.ai_enabled AND c.opted_out_at IS NULL
                        AND m.received_at > now() - $2::float8 * interval '1 millisecond'
                        AND m.number = (SELECT max(n.number) FROM messages n WHERE n.conversation_id = m.conversation_id)
                        AND (u."limit" IS NULL OR u.used < u."limit") AS is_typing
               FROM messages m
               JOIN conversations c ON c.id = m.conversation_id
               JOIN channels ch ON ch.id = m.channel_id
               JOIN chatbots b ON b.id = ch.chatbot_id
               JOIN workspaces w ON w.id = m.workspace_id
               LEFT JOIN usage u ON u.workspace_id = m.workspace_id
                 AND u.month = to_char(now() AT TIME ZONE w.time_zone, 'YYYY-MM')
               WHERE m.id = ANY($1::uuid[]) AND c.owner = 'ai' AND ch.answers AND ch.send_hold_code IS NULL
                 AND ch.access_token_ciphertext IS NOT NULL AND m.type NOT IN ('reaction', 'edit', 'revoke', 'system')
                 AND m.sent_at > now() - $3::float8 * interval '1 day'
               ORDER BY m.conversation_id, m.sent_at DESC, m.place DESC, m.id DESC`,
      },
      [messageIds, TURN_PATIENCE_MS, TICKS_MAX_AGE_DAYS],
    );
    await Promise.all(
      rows
        .filter((row) => !OWN_MESSAGE_ID.test(row.provider_message_id))
        .map((row) => this.#show(row, askedAt + CALL_START_LIMIT_MS)),
    );
  }

  /** Ticks for all that a contact has written: a human has read it, and answers. Never rejects. */
  async showRead(conversationId: string): Promise<void> {
    const askedAt = performance.now();
    try {
      const [row] = await this.#database.query<PresenceRow>(
        {
          name: 'presence-of-human',
          text: `SELECT m.conversation_id, m.workspace_id, m.channel_id, m.provider_message_id, ch.phone_number_id,
                        ch.access_token_ciphertext, false AS is_typing
                 FROM messages m JOIN channels ch ON ch.id = m.channel_id
                 WHERE m.conversation_id = $1 AND m.direction = 'inbound' AND m.author = 'contact'
                   AND m.type NOT IN ('reaction', 'edit', 'revoke') AND m.provider_message_id !~ $3
                   AND ch.answers AND ch.send_hold_code IS NULL AND ch.access_token_ciphertext IS NOT NULL
                   AND m.sent_at > now() - $2::float8 * interval '1 day'
                 ORDER BY m.sent_at DESC, m.place DESC, m.id DESC LIMIT 1`,
        },
        [conversationId, TICKS_MAX_AGE_DAYS, OWN_MESSAGE_ID.source],
      );
      if (row) await this.#show(row, askedAt + CALL_START_LIMIT_MS);
    } catch (error) {
      this.#logger.warn({ err: error, conversationId }, 'Ticks not shown');
    }
  }

  /** @param startBy as with sends: till then holds what was read of the channel, also for a process that was halted */
  async #show(row: PresenceRow, startBy: number): Promise<void> {
    if (performance.now() >= startBy) return;
    try {
      const accessToken = this.#secrets.open(row.access_token_ciphertext, {
        table: 'channels',
        rowId: row.channel_id,
        column: 'access_token_ciphertext',
        workspaceId: row.workspace_id,
      });
      const outcome = await this.#graph.markRead({
        phoneNumberId: row.phone_number_id,
        accessToken,
        startBy,
        messageId: row.provider_message_id,
        typing: row.is_typing,
      });
      if (outcome.outcome === 'accepted') return;
      const reason = outcome.outcome === 'refused' ? outcome.failure.reason : outcome.reason;
      this.#logger.warn({ conversationId: row.conversation_id, reason }, 'Ticks not shown');
    } catch (error) {
      this.#logger.warn({ err: error, conversationId: row.conversation_id }, 'Ticks not shown');
    }
  }
}

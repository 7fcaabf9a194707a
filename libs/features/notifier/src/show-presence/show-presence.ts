import { TURN_PATIENCE_MS } from '@answerline/conversation-rules';
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
      rows.filter((row) => !OWN_MESSAGE_ID.test(row.provider_message_id)).map((row) => this.#show(row)),
    );
  }

  async #show(row: PresenceRow): Promise<void> {
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

import { type EarlierMessage } from '@answerline/language-model';
import { type Sql } from '@answerline/persistence';
import { type Turn } from './read-turn.ts';

/** Turns that the model is told of; older ones rarely matter to a question, and each costs tokens. */
const TURNS_MAX = 10;
/** What was said longer ago belongs to another visit. */
const OLDEST_HOURS = 24;
/** Messages that are read to find those turns in. More than this in ten turns is a flood, of which the end is enough. */
const MESSAGES_MAX = 200;

/**
 * What was said before the turn, oldest first: its last {@link TURNS_MAX} turns, whoever replied. Revoked messages are left out, edited
 * ones are in their last form, and so are replies that nobody got. With what colleagues noted when they handed back. Only words and who
 * said them: no name, no number.
 */
export async function readHistory(sql: Sql, turn: Pick<Turn, 'conversationId' | 'first'>): Promise<EarlierMessage[]> {
  const rows = await sql.query<EarlierMessage & Record<string, unknown>>(
    {
      name: 'read-history',
      // A message stands where its turn was answered, so that each reply follows what it answers.
      text: `SELECT said.author, said.text
             FROM (SELECT CASE WHEN m.direction = 'inbound' THEN 'contact' ELSE 'human' END AS author, m.text,
                          coalesce(t.created_at, m.received_at) AS at, 0 AS side, m.sent_at, m.place, m.id
                   FROM messages m
                   LEFT JOIN turns t ON t.conversation_id = m.conversation_id AND m.number BETWEEN t.first_number AND t.last_number
                   WHERE m.conversation_id = $1 AND (m.number IS NULL OR m.number < $2) AND m.revoked_at IS NULL
                     AND m.text IS NOT NULL
                     AND (m.author IN ('contact', 'phone_app', 'meta_agent') OR m.author = 'system' AND m.type = 'note')
                     AND m.sent_at > now() - $3::int * interval '1 hour'
                   UNION ALL
                   SELECT CASE r.author WHEN 'human' THEN 'human' ELSE 'ai' END, r.text, r.created_at, 1, r.created_at, 0, r.id
                   FROM replies r
                   WHERE r.conversation_id = $1 AND r.created_at > now() - $3::int * interval '1 hour'
                     AND EXISTS (SELECT 1 FROM sends s WHERE s.reply_id = r.id AND s.phase NOT IN ('failed', 'superseded'))
                   ORDER BY at DESC, side DESC, sent_at DESC, place DESC, id DESC
                   LIMIT $4) AS said
             ORDER BY said.at, said.side, said.sent_at, said.place, said.id`,
    },
    [turn.conversationId, turn.first, OLDEST_HOURS, MESSAGES_MAX],
  );
  return lastTurns(rows.map(({ author, text }) => ({ author, text })));
}

/**
 * The last `limit` turns of what was said: a turn is a block of the contact's messages and the replies after it. Replies without a
 * block before them belong to a turn that is not there any more, and are left out. Pure.
 */
export function lastTurns(said: readonly EarlierMessage[], limit: number = TURNS_MAX): EarlierMessage[] {
  const starts = said.flatMap(({ author }, place) =>
    author === 'contact' && said[place - 1]?.author !== 'contact' ? [place] : [],
  );
  const start = starts.at(-limit) ?? starts[0];
  return start === undefined ? [] : said.slice(start);
}

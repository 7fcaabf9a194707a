import { newId, type Database } from '@answerline/persistence';
import { type SeededChannel } from './seed.ts';

/** A Markdown source of a chatbot, due at once. Returns its id. */
export async function seedSource(
  database: Database,
  { workspaceId, chatbotId }: Pick<SeededChannel, 'workspaceId' | 'chatbotId'>,
  { title = 'House rules', content, url = null }: { title?: string; content: string; url?: string | null },
): Promise<string> {
  const id = newId();
  await database.query(
    `INSERT INTO sources (id, workspace_id, chatbot_id, type, title, content, url, due_at)
     VALUES ($1, $2, $3, 'markdown', $4, $5, $6, now())`,
    [id, workspaceId, chatbotId, title, content, url],
  );
  return id;
}

import { InvalidInput } from '@answerline/errors';
import { type Sql } from '@answerline/persistence';

/** What answering needs to know about a chatbot. */
export interface AskedChatbot {
  readonly instructions: string;
  readonly language: string;
  readonly texts: Readonly<Record<string, Readonly<Record<string, string>>>>;
  readonly showSources: boolean;
}

/** The chatbot of this workspace. Throws InvalidInput `chatbot_not_found` (404) when there is none, or it is another workspace's. */
export async function readChatbot(sql: Sql, workspaceId: string, chatbotId: string): Promise<AskedChatbot> {
  const [chatbot] = await sql.query<AskedChatbot & Record<string, unknown>>(
    {
      name: 'read-asked-chatbot',
      text: `SELECT instructions, language, texts, show_sources AS "showSources" FROM chatbots
             WHERE workspace_id = $1 AND id = $2`,
    },
    [workspaceId, chatbotId],
  );
  if (chatbot) return chatbot;
  throw new InvalidInput('chatbot_not_found', 'This workspace has no such chatbot.', { httpStatus: 404 });
}

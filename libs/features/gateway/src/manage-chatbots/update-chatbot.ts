import { type updateChatbotSchema } from '@answerline/contracts';
import { Database, type Chatbot } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';

export type ChatbotSettings = z.infer<typeof updateChatbotSchema>;
type Texts = Chatbot['texts'];

/** Changes settings of a chatbot: what was not sent stays. */
@Injectable()
export class UpdateChatbot {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Each process reads settings when it needs them, so that a change holds from its commit on. @throws RefusedRequest 404 */
  async execute(workspaceId: string, id: string, settings: ChatbotSettings): Promise<Chatbot> {
    const chatbots = this.#database.forWorkspace(workspaceId).chatbots;
    const { texts, ...columns } = toColumns(settings);
    if (texts) {
      await this.#database.transaction(async (sql) => {
        // Locked, because two changes of different texts must both stay.
        const [row] = await sql.query<{ texts: Texts }>(
          'SELECT texts FROM chatbots WHERE workspace_id = $1 AND id = $2 FOR NO KEY UPDATE',
          [workspaceId, id],
        );
        if (!row) throw notFound();
        await sql.query('UPDATE chatbots SET texts = $3 WHERE workspace_id = $1 AND id = $2', [
          workspaceId,
          id,
          JSON.stringify(mergeTexts(row.texts, settings.texts ?? {})),
        ]);
      });
    }
    const changed = Object.keys(columns).length > 0;
    const chatbot = changed ? await chatbots.update(id, columns) : await chatbots.find({ id });
    if (!chatbot) throw notFound();
    return chatbot;
  }
}

/** Settings as columns; what was not sent is not there. Of texts, only what has one. */
export function toColumns(settings: ChatbotSettings): Partial<Omit<Chatbot, 'id' | 'workspaceId' | 'createdAt'>> {
  const { texts, handoff, optOut, ...same } = settings;
  const all = {
    ...same,
    texts: texts && mergeTexts({}, texts),
    handoffPhrases: handoff?.phrases,
    handoffByModel: handoff?.byModel,
    stopWords: optOut?.stopWords,
    startWords: optOut?.startWords,
  };
  return Object.fromEntries(Object.entries(all).filter(([, value]) => value !== undefined));
}

/** Null takes a text away. */
function mergeTexts(before: Texts, changes: NonNullable<ChatbotSettings['texts']>): Texts {
  const merged = new Map(Object.entries(before).map(([language, texts]) => [language, new Map(Object.entries(texts))]));
  for (const [language, texts] of Object.entries(changes)) {
    const own = merged.get(language) ?? new Map<string, string>();
    for (const [kind, text] of Object.entries(texts)) {
      if (text === null) own.delete(kind);
      else own.set(kind, text);
    }
    merged.set(language, own);
  }
  return Object.fromEntries(
    [...merged].filter(([, own]) => own.size > 0).map(([language, own]) => [language, Object.fromEntries(own)]),
  );
}

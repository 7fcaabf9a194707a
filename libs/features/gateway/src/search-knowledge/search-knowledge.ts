import { type searchResultSchema } from '@answerline/contracts';
import { KnowledgeIndex } from '@answerline/knowledge-index';
import { Database } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';

interface PassageRow {
  id: string;
  source_id: string;
  title: string;
  heading_path: string[];
  text: string;
}

/** Shows an owner what the chatbot would find. */
@Injectable()
export class SearchKnowledge {
  readonly #database: Database;
  readonly #index: KnowledgeIndex;

  constructor(database: Database, index: KnowledgeIndex) {
    this.#database = database;
    this.#index = index;
  }

  /**
   * The best passages for `text`, best first. Throws 404 when there is no such chatbot, Transient `knowledge_index_unavailable`
   * when the index cannot be read.
   */
  async execute(
    workspaceId: string,
    chatbotId: string,
    { text, limit }: { text: string; limit: number },
  ): Promise<z.infer<typeof searchResultSchema>> {
    const chatbot = await this.#database.forWorkspace(workspaceId).chatbots.find({ id: chatbotId });
    if (chatbot === null) throw notFound();
    const { lexical } = await this.#index.search(this.#index.versionFor(chatbotId), { text, k: limit });
    // The index may still hold what is being deleted; Postgres says what is there.
    const rows = await this.#database.query<PassageRow>(
      `SELECT p.id, p.source_id, p.title, p.heading_path, p.text FROM passages p
       JOIN sources s ON s.workspace_id = p.workspace_id AND s.id = p.source_id AND s.state <> 'deleting'
       WHERE p.workspace_id = $1 AND p.chatbot_id = $2 AND p.id = ANY($3::uuid[])`,
      [workspaceId, chatbotId, lexical.map(({ passageId }) => passageId)],
    );
    const passages = new Map(rows.map((row) => [row.id, row]));
    const items = lexical.flatMap(({ passageId, score }) => {
      const passage = passages.get(passageId);
      return passage === undefined ? [] : [{ passage, score }];
    });
    return {
      mode: 'lexical',
      items: items.map(({ passage, score }, place) => ({
        passageId: passage.id,
        sourceId: passage.source_id,
        title: passage.title,
        headingPath: passage.heading_path,
        text: passage.text,
        rank: place + 1,
        score,
      })),
    };
  }
}

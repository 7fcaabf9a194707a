import { type KnowledgeIndex } from '@answerline/knowledge-index';
import { type AnswerPassage } from '@answerline/language-model';
import { type Database } from '@answerline/persistence';
import { type ReceiptPassage } from './receipt.ts';

/** A found passage as the answerer takes it, and as the receipt keeps it. */
export interface FoundPassage {
  readonly passage: AnswerPassage;
  readonly receipt: Omit<ReceiptPassage, 'cited'>;
}

/** Passages of one search. */
export const SEARCH_SIZE = 10;

/** The best passages of a chatbot for a text, best first. The text of each comes from Postgres: what was deleted is not said. */
export async function findPassages(
  index: KnowledgeIndex,
  database: Database,
  where: { readonly workspaceId: string; readonly chatbotId: string; readonly showSources: boolean },
  text: string,
): Promise<FoundPassage[]> {
  const { lexical } = await index.search(index.versionFor(where.chatbotId), { text, k: SEARCH_SIZE });
  if (lexical.length === 0) return [];
  const rows = await database.query<{
    id: string;
    title: string;
    heading_path: string[];
    text: string;
    sha256: string;
    url: string | null;
  }>(
    {
      name: 'read-passages',
      text: `SELECT p.id, p.title, p.heading_path, p.text, p.sha256, s.url
             FROM passages p JOIN sources s ON s.id = p.source_id
             WHERE p.workspace_id = $1 AND p.chatbot_id = $2 AND p.id = ANY($3::uuid[]) AND s.state <> 'deleting'`,
    },
    [where.workspaceId, where.chatbotId, lexical.map(({ passageId }) => passageId)],
  );
  const byId = new Map(rows.map((row) => [row.id, row]));
  return lexical.flatMap(({ passageId, rank, score }) => {
    const row = byId.get(passageId);
    if (!row) return [];
    const sourceUrl = where.showSources && row.url !== null ? { sourceUrl: row.url } : {};
    return {
      passage: { passageId, title: row.title, headingPath: row.heading_path, text: row.text, ...sourceUrl },
      receipt: {
        passageId,
        sha256: row.sha256,
        lexicalRank: rank,
        lexicalScore: score,
        vectorRank: null,
        vectorScore: null,
      },
    };
  });
}

import { type receiptSchema } from '@answerline/contracts';
import { Database } from '@answerline/persistence';
import { Injectable } from '@nestjs/common';
import type * as z from 'zod';
import { notFound } from '../management-api/api-errors.ts';

type Receipt = z.infer<typeof receiptSchema>;
type Passage = Receipt['passages'][number];

interface ReceiptRow {
  id: string;
  question: string;
  rewritten_question: string | null;
  search_mode: Receipt['searchMode'];
  passages: Omit<Passage, 'title'>[];
  titles: Record<string, string> | null;
  prompt_version: string | null;
  model: string;
  input_tokens: number;
  output_tokens: number;
  cost_micros: string | null;
  timings: Record<string, number>;
  created_at: Date;
}

/** How answers came about. */
@Injectable()
export class ReadReceipts {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  /** Of the reply that is this message. 404 when it has none: an inbound message, a fixed text, a human's reply. */
  async ofMessage(workspaceId: string, messageId: string): Promise<Receipt> {
    return this.#read('r.reply_id = $2', [workspaceId, messageId]);
  }

  /** By its own id, which an answer to a direct question names. */
  async byId(workspaceId: string, id: string): Promise<Receipt> {
    return this.#read('r.id = $2', [workspaceId, id]);
  }

  async #read(condition: string, values: readonly string[]): Promise<Receipt> {
    const [row] = await this.#database.query<ReceiptRow>(
      `SELECT r.id, r.question, r.rewritten_question, r.search_mode, r.passages, r.prompt_version, r.model, r.input_tokens,
              r.output_tokens, r.cost_micros, r.timings, r.created_at,
              (SELECT json_object_agg(p.id, p.title) FROM passages p
               WHERE p.workspace_id = r.workspace_id
                 AND p.id IN (SELECT (passage->>'passageId')::uuid FROM jsonb_array_elements(r.passages) AS passage)) AS titles
       FROM receipts r WHERE r.workspace_id = $1 AND ${condition}`,
      values,
    );
    if (!row) throw notFound();
    return toReceipt(row);
  }
}

function toReceipt(row: ReceiptRow): Receipt {
  return {
    id: row.id,
    question: row.question,
    rewrittenQuestion: row.rewritten_question,
    searchMode: row.search_mode,
    passages: row.passages.map((passage) => ({ ...passage, title: row.titles?.[passage.passageId] ?? null })),
    promptVersion: row.prompt_version,
    model: row.model,
    usage: { inputTokens: row.input_tokens, outputTokens: row.output_tokens },
    // Postgres hands a bigint over as text.
    costMicros: row.cost_micros === null ? null : Number(row.cost_micros),
    timings: row.timings,
    createdAt: row.created_at.toISOString(),
  };
}

import { type EarlierMessage } from '@answerline/language-model';
import { countTokens, newId, type Database } from '@answerline/persistence';
import { languageOfTexts } from '../answer-turn/decide-turn.ts';
import { fixedText } from '../answer-turn/texts.ts';
import { ANSWER_WITHIN_MS, type MakeAnswer } from '../make-answer/make-answer.ts';
import { type Receipt } from '../make-answer/receipt.ts';
import { Spending } from '../make-answer/spending.ts';
import { QuestionSlots } from './question-slots.ts';
import { readChatbot } from './read-chatbot.ts';
import { requireTokens } from './require-tokens.ts';

/** A question that somebody asks a chatbot outside of any conversation. */
export interface DirectQuestion {
  readonly workspaceId: string;
  readonly chatbotId: string;
  readonly question: string;
  /** What was said before, as the asker tells it; oldest first. */
  readonly history: readonly EarlierMessage[];
}

/** A passage that an answer rests on. `url` is null unless the chatbot shows its sources. */
export interface Citation {
  readonly passageId: string;
  readonly sourceId: string;
  readonly title: string;
  readonly url: string | null;
}

/** What a question came to. `text` is Markdown. A fallback has no receipt. */
export interface DirectAnswer {
  readonly kind: 'answer' | 'abstain' | 'fallback';
  readonly text: string;
  readonly citations: readonly Citation[];
  readonly receiptId: string | null;
}

/** Answers questions of owners and programs. Nothing is sent, and nothing is debited: only what a contact gets counts. */
export class AnswerQuestion {
  readonly #database: Database;
  readonly #makeAnswer: MakeAnswer;
  readonly #withinMs: number;
  readonly #slots = new QuestionSlots();

  /** @param parts.answerWithinMs shorter, for tests */
  constructor(parts: {
    readonly database: Database;
    readonly makeAnswer: MakeAnswer;
    readonly answerWithinMs?: number;
  }) {
    this.#database = parts.database;
    this.#makeAnswer = parts.makeAnswer;
    this.#withinMs = parts.answerWithinMs ?? ANSWER_WITHIN_MS;
  }

  /**
   * The answer with its receipt stored, an abstention, or after 25 s the honest fallback. `onText` hears it while it is written, and
   * at once as a whole when nothing wrote it piece by piece. Throws `chatbot_not_found`, Transient `too_many_questions` and
   * `tokens_used_up`, what Postgres throws, and the signal's reason.
   */
  execute(asked: DirectQuestion, signal: AbortSignal, onText: (piece: string) => void): Promise<DirectAnswer> {
    return this.#slots.use(asked.workspaceId, () => this.#answer(asked, signal, onText));
  }

  async #answer(asked: DirectQuestion, signal: AbortSignal, onText: (piece: string) => void): Promise<DirectAnswer> {
    const { workspaceId, chatbotId, question, history } = asked;
    const chatbot = await readChatbot(this.#database, workspaceId, chatbotId);
    await requireTokens(this.#database, workspaceId);
    const said = history.filter(({ author }) => author === 'contact').map(({ text }) => text);
    const language = languageOfTexts([...said, question], chatbot.language);
    let wasHeard = false;
    const hear = (piece: string): void => {
      wasHeard = true;
      onText(piece);
    };
    const spending = new Spending();
    const asking = this.#makeAnswer.execute(
      {
        workspaceId,
        chatbotId,
        question,
        language,
        instructions: chatbot.instructions,
        showSources: chatbot.showSources,
        readHistory: async () => history,
        onText: hear,
        onSpent: spending.add,
      },
      signal,
      this.#withinMs,
    );
    const made = await asking.finally(async () => {
      const { total } = spending;
      if (total) await this.#database.query(...countTokens({ workspaceId, conversationId: null }, total));
    });
    const answer = made?.answer;
    // Who asks here is offered no human; the model was not told of one either.
    const kind = answer?.kind === 'handoff' ? 'abstain' : (answer?.kind ?? 'fallback');
    const text =
      answer?.kind === 'answer'
        ? answer.text
        : fixedText(kind === 'abstain' ? kind : 'fallback', language, chatbot.texts);
    const cited = answer?.kind === 'answer' ? answer.citedPassageIds : [];
    const citations = await this.#citations(asked, cited, chatbot.showSources);
    const receiptId = made ? await this.#store(asked, made.receipt) : null;
    if (!wasHeard) onText(text);
    return { kind, text, citations, receiptId };
  }

  /** In the order of the answer. What was deleted meanwhile is left out. */
  async #citations(
    { workspaceId, chatbotId }: DirectQuestion,
    passageIds: readonly string[],
    showSources: boolean,
  ): Promise<Citation[]> {
    if (passageIds.length === 0) return [];
    return this.#database.query<Citation & Record<string, unknown>>(
      {
        name: 'read-citations',
        text: `SELECT p.id AS "passageId", p.source_id AS "sourceId", p.title, CASE WHEN $4 THEN s.url END AS url
               FROM unnest($3::uuid[]) WITH ORDINALITY AS cited(id, place)
               JOIN passages p ON p.id = cited.id AND p.workspace_id = $1 AND p.chatbot_id = $2
               JOIN sources s ON s.id = p.source_id AND s.state <> 'deleting'
               ORDER BY cited.place`,
      },
      [workspaceId, chatbotId, passageIds, showSources],
    );
  }

  async #store({ workspaceId, chatbotId }: DirectQuestion, receipt: Receipt): Promise<string> {
    const id = newId();
    await this.#database.query(
      {
        name: 'insert-receipt-of-question',
        text: `INSERT INTO receipts (id, workspace_id, chatbot_id, question, rewritten_question, search_mode, passages, prompt_version,
                                     model, input_tokens, output_tokens, cost_micros, timings)
               VALUES ($1, $2, $3, $4, $5, $6, $7::jsonb, $8, $9, $10, $11, $12, $13::jsonb)`,
      },
      [
        id,
        workspaceId,
        chatbotId,
        receipt.question,
        receipt.rewrittenQuestion,
        receipt.searchMode,
        JSON.stringify(receipt.passages),
        receipt.promptVersion,
        receipt.model,
        receipt.usage.inputTokens,
        receipt.usage.outputTokens,
        receipt.costMicros,
        JSON.stringify(receipt.timings),
      ],
    );
    return id;
  }
}

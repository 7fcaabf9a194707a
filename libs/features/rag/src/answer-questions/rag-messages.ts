import {
  type AnswerKind,
  type AskEvent,
  Author,
  type Passage,
  type SearchMode,
  type SearchResponse,
} from '@answerline/contracts';
import { InvalidFields } from '@answerline/grpc-status';
import * as z from 'zod';
import { SEARCH_SIZE, type FoundPassage, type PassageSearch } from '../find-passages/find-passages.ts';
import { type DirectAnswer, type DirectQuestion } from './answer-question.ts';
import { type SearchedText } from './search-chatbot.ts';

/** A text as Postgres can store it. */
const text = (maxLength: number) =>
  z
    .string()
    .trim()
    .min(1)
    .max(maxLength)
    .refine((value) => !value.includes('\u0000'), 'The character U+0000 cannot be stored.');
const chatbot = { workspaceId: z.uuid(), chatbotId: z.uuid() };

const searchRequestSchema = z.object({
  ...chatbot,
  text: text(2_000),
  limit: z
    .int()
    .min(0)
    .max(50)
    .transform((limit) => (limit === 0 ? SEARCH_SIZE : limit)),
});

const authors = {
  [Author.AUTHOR_CONTACT]: 'contact',
  [Author.AUTHOR_AI]: 'ai',
  [Author.AUTHOR_HUMAN]: 'human',
} as const satisfies Partial<Record<Author, string>>;

const askRequestSchema = z.object({
  ...chatbot,
  question: text(4_000),
  history: z
    .array(
      z.object({
        author: z
          .enum([Author.AUTHOR_CONTACT, Author.AUTHOR_AI, Author.AUTHOR_HUMAN])
          .transform((author) => authors[author]),
        text: text(4_000),
      }),
    )
    .max(40),
});

/** Throws InvalidFields `validation_failed`, as the other does. */
export function readSearchRequest(request: unknown): SearchedText {
  return checked(searchRequestSchema, request);
}

export function readAskRequest(request: unknown): DirectQuestion {
  return checked(askRequestSchema, request);
}

function checked<Schema extends z.ZodType>(schema: Schema, request: unknown): z.output<Schema> {
  const result = schema.safeParse(request);
  if (result.success) return result.data;
  throw new InvalidFields(result.error.issues.map(({ path, message }) => ({ path: path.join('.'), message })));
}

const modes = {
  hybrid: 'SEARCH_MODE_HYBRID',
  lexical: 'SEARCH_MODE_LEXICAL',
} as const satisfies Record<PassageSearch['mode'], SearchMode>;

export function toSearchResponse({ mode, lexicalReason, passages }: PassageSearch): SearchResponse {
  return { mode: modes[mode], lexicalReason: lexicalReason ?? '', passages: passages.map(toPassage) };
}

function toPassage({ passage, sourceId, score, receipt }: FoundPassage): Passage {
  const place = (rank: number | null, of: number | null) =>
    rank === null || of === null ? undefined : { rank, score: of };
  return {
    passageId: passage.passageId,
    sourceId,
    title: passage.title,
    headingPath: [...passage.headingPath],
    text: passage.text,
    score,
    lexical: place(receipt.lexicalRank, receipt.lexicalScore),
    vector: place(receipt.vectorRank, receipt.vectorScore),
  };
}

const kinds = {
  answer: 'ANSWER_KIND_ANSWER',
  abstain: 'ANSWER_KIND_ABSTAIN',
  fallback: 'ANSWER_KIND_FALLBACK',
} as const satisfies Record<DirectAnswer['kind'], AnswerKind>;

export function toResultEvent({ kind, text: answer, citations, receiptId }: DirectAnswer): AskEvent {
  return {
    result: {
      kind: kinds[kind],
      text: answer,
      citations: citations.map(({ url, ...citation }) => ({ ...citation, url: url ?? '' })),
      receiptId: receiptId ?? '',
    },
  };
}

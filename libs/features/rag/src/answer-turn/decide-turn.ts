import { type ReplyKind } from '@answerline/contracts';
import { asksFor, decideBeforeModel, type TurnOutcome } from '@answerline/conversation-rules';
import { detectLanguage, type KnownLanguage } from '@answerline/language-model';
import { sayWhenHumansAre } from './business-hours.ts';
import { defaultHandoffPhrases } from './handoff-phrases.ts';
import { isTold } from './notices.ts';
import { fixedText, type FixedKind } from './texts.ts';
import { type Turn } from './read-turn.ts';

/** What a turn comes to: its outcome and, unless it stays silent, what is said. */
export interface TurnResult {
  readonly outcome: TurnOutcome;
  readonly reply: PlannedReply | null;
}

/** A reply as Markdown. */
export interface PlannedReply {
  readonly kind: ReplyKind;
  readonly author: 'ai' | 'system';
  readonly text: string;
}

/** Texts shorter than this say little about their language. */
const LANGUAGE_MIN_LENGTH = 12;

/** All that was asked in the turn. */
export function questionOf(turn: Turn): string {
  return turn.messages
    .map(({ text }) => text)
    .filter((text) => text !== null && text.trim() !== '')
    .join('\n');
}

/** The language of the contact's last longer text, else of all of them, else the chatbot's. */
export function languageOf(turn: Turn): KnownLanguage {
  return languageOfTexts(
    turn.messages.map(({ text }) => text ?? ''),
    turn.language,
  );
}

/** As {@link languageOf}, for what somebody wrote, oldest first, to a chatbot of this language. */
export function languageOfTexts(texts: readonly string[], chatbotLanguage: string): KnownLanguage {
  const longer = texts.findLast((text) => text.length >= LANGUAGE_MIN_LENGTH);
  const detected = (longer === undefined ? undefined : detectLanguage(longer)) ?? detectLanguage(texts.join('\n'));
  return detected ?? (chatbotLanguage === 'es' ? 'es' : 'en');
}

/** The result of a turn that needs no answer from the knowledge base, or undefined: answer it. Pure. */
export function decideWithoutAnswer(turn: Turn): TurnResult | undefined {
  const question = questionOf(turn);
  const outcome = decideBeforeModel({
    now: turn.now,
    conversation: turn.state,
    standing: turn.messages.length,
    readable: question === '' ? 0 : 1,
    asksForHuman: asksFor(question, turn.handoffPhrases ?? defaultHandoffPhrases),
    planHasHandoff: turn.hasHandoff,
    // A workspace whose tokens of the day are used up can answer nobody either; it is not for the contact to know which of the two.
    quotaLeft: (turn.usage.limit === null || turn.usage.used < turn.usage.limit) && turn.tokensLeft.workspace,
    contactLimited: turn.contactLimited,
    budgetLeft: turn.tokensLeft.contact,
  });
  return outcome === undefined ? undefined : resultOf(turn, outcome);
}

/** What is said for an outcome that is not an answer. */
export function resultOf(turn: Turn, outcome: TurnOutcome): TurnResult {
  const say = (kind: FixedKind, author: PlannedReply['author'] = 'ai'): TurnResult => ({
    outcome,
    reply: { kind, author, text: fixedText(kind, languageOf(turn), turn.texts) },
  });
  const silent: TurnResult = { outcome, reply: null };
  const sayOnce = (kind: FixedKind): TurnResult => (isTold(kind, turn) ? silent : say(kind));
  switch (outcome) {
    case 'handed_off': {
      const text = fixedText('handoff_confirmation', languageOf(turn), turn.texts);
      const hours = turn.businessHours && sayWhenHumansAre(turn.businessHours, turn.now, languageOf(turn));
      return {
        outcome,
        reply: { kind: 'handoff_confirmation', author: 'system', text: hours ? `${text} ${hours}` : text },
      };
    }
    case 'plan_notice':
      return say('plan_notice', 'system');
    case 'media_notice':
      return sayOnce('media_notice');
    case 'over_quota':
      return sayOnce('over_quota');
    case 'limited':
      return sayOnce('limited');
    case 'abstained':
      return say('abstain');
    case 'fallback':
    case 'failed':
      return say('fallback');
    case 'replied':
    case 'opted_out':
    case 'ai_off':
    case 'human_held':
    case 'window_closed':
    case 'channel_off':
    case 'nothing_to_answer':
      return silent;
  }
}

/** Replies that count against the quota. */
export function isCounted(reply: PlannedReply | null): boolean {
  return reply?.kind === 'answer' || reply?.kind === 'abstain';
}

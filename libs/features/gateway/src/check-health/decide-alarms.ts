import { daysUntil, dueExpiryWarning } from './decide-channel-state.ts';
import { isCredentialCode } from './check-result.ts';

/** Something its owner must be told. `daysLeft`: until the token expires, null when Meta refuses it already. */
export interface Alarm {
  readonly code: string;
  readonly daysLeft: number | null;
}

export interface AlarmFacts {
  /** Causes that alarms were raised for with the present credentials, as {@link decideAlarms} returned them. */
  readonly alarmed: readonly string[];
  /** Codes with which Meta refused the credentials just now. */
  readonly refused: readonly string[];
  /** Whether Meta said anything about the token just now; if not, nothing is known to have ended. */
  readonly isConclusive: boolean;
  /** ms since 1970. */
  readonly tokenExpiresAt: number | null;
}

/**
 * The alarms that are due and the causes to remember, so that each is raised once: a refusal until Meta takes the credentials
 * again, an expiry at 14, 7 and 1 days before it. When several of these have passed unseen, only the last is raised.
 */
export function decideAlarms(facts: AlarmFacts, now: number): { alarms: Alarm[]; alarmed: string[] } {
  const { alarmed, refused, isConclusive, tokenExpiresAt } = facts;
  const fresh = refused.filter((code) => !alarmed.includes(code));
  const alarms: Alarm[] = fresh.map((code) => ({ code, daysLeft: null }));
  const causes = alarmed.filter((cause) =>
    isCredentialCode(cause) ? !isConclusive || refused.includes(cause) : cause.startsWith(expiryCause(tokenExpiresAt)),
  );

  const warning = dueExpiryWarning(tokenExpiresAt, now);
  const cause = `${expiryCause(tokenExpiresAt)}${String(warning)}`;
  if (warning !== null && tokenExpiresAt !== null && !alarmed.includes(cause)) {
    alarms.push({ code: 'token_expiring', daysLeft: daysUntil(tokenExpiresAt, now) });
    causes.push(cause);
  }
  return { alarms, alarmed: [...causes, ...fresh] };
}

/** A token that is replaced has another expiry, and so causes of its own. */
const expiryCause = (tokenExpiresAt: number | null): string => `expires:${String(tokenExpiresAt)}:`;

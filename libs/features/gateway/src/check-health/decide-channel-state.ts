import { type ChannelState, type ReasonSeverity } from '@answerline/contracts';

const DAY_MS = 24 * 60 * 60 * 1_000;

/** Days before a token's expiry at which its owner is told, and from the first of which on the channel is degraded. */
export const EXPIRY_WARNING_DAYS = [14, 7, 1] as const;

/** What a check or a send found wrong, by code. */
export interface Finding {
  readonly code: string;
  readonly severity: ReasonSeverity;
}

/** All that a channel's state depends on. Times in ms since 1970. */
export interface ChannelFacts {
  readonly lifecycle: 'draft' | 'connected' | 'disconnected';
  readonly planHasWhatsApp: boolean;
  readonly isWorkspaceSuspended: boolean;
  /** Why Meta refused a send, while sends wait for a reconnect. */
  readonly holdCode: string | null;
  readonly hasAppSecret: boolean;
  /** The callback answered Meta's verification. */
  readonly webhookVerifiedAt: number | null;
  /** The last delivery of the Meta app whose signature was right. */
  readonly lastSignedAt: number | null;
  /** The first event of this very number came, through the callback that it has now. */
  readonly heardAt: number | null;
  /** The last delivery that was refused for its signature. */
  readonly lastForgedAt: number | null;
  readonly tokenExpiresAt: number | null;
  /** What the last run of all checks found with the present credentials. */
  readonly findings: readonly Finding[];
  /** What sends of the last 24 hours failed with, and that a person can mend. */
  readonly sendFindings: readonly Finding[];
  readonly hasMail: boolean;
}

/** A channel's state and why, worst first. */
export interface DecidedState {
  readonly state: ChannelState;
  readonly reasons: readonly Finding[];
}

/**
 * The state of a channel. Nothing here reads a failure to ask: what Meta could not be asked is no finding, so a network that
 * is away changes no state. Being suspended or switched off hides everything else; what is broken hides how far the
 * connection has come; only what is live can be degraded.
 */
export function decideChannelState(facts: ChannelFacts, now: number): DecidedState {
  if (facts.lifecycle === 'disconnected') return { state: 'disconnected', reasons: [] };
  if (facts.lifecycle === 'draft') return { state: 'draft', reasons: [finding('credentials_missing', 'notice')] };
  const reasons = worstFirst([...credentialReasons(facts, now), ...deliveryReasons(facts, now), ...facts.sendFindings]);
  if (facts.isWorkspaceSuspended) return suspended('workspace_suspended', reasons);
  if (!facts.planHasWhatsApp) return suspended('plan_without_whatsapp', reasons);
  return { state: stateOf(facts, reasons), reasons };
}

function stateOf(facts: ChannelFacts, reasons: readonly Finding[]): ChannelState {
  if (reasons.some(({ severity }) => severity === 'broken')) return 'broken';
  if (!isHeard(facts)) return facts.webhookVerifiedAt === null ? 'validated' : 'webhook_verified';
  return reasons.some(({ severity }) => severity === 'degraded') ? 'degraded' : 'live';
}

/** With an App Secret only a signed event counts: what came before the secret was there, anybody may have sent. */
function isHeard({ heardAt, hasAppSecret, lastSignedAt }: ChannelFacts): boolean {
  return heardAt !== null && (!hasAppSecret || lastSignedAt !== null);
}

function credentialReasons(facts: ChannelFacts, now: number): Finding[] {
  const { holdCode, tokenExpiresAt } = facts;
  const reasons: Finding[] = [...facts.findings];
  if (holdCode !== null) reasons.push(finding(holdCode, 'broken'));
  if (tokenExpiresAt !== null && tokenExpiresAt <= now) reasons.push(finding('token_expired', 'broken'));
  else if (tokenExpiresAt !== null && tokenExpiresAt - now <= EXPIRY_WARNING_DAYS[0] * DAY_MS) {
    reasons.push(finding('token_expiring', 'degraded'));
  }
  if (!facts.hasAppSecret) reasons.push(finding('app_secret_missing', 'notice'));
  if (!facts.hasMail) reasons.push(finding('mail_not_configured', 'notice'));
  return reasons;
}

function deliveryReasons(facts: ChannelFacts, now: number): Finding[] {
  const { lastForgedAt, lastSignedAt } = facts;
  const reasons: Finding[] = [];
  if (!isHeard(facts)) {
    if (facts.webhookVerifiedAt === null) reasons.push(finding('webhook_not_verified', 'notice'));
    reasons.push(finding('no_event_yet', 'notice'));
  }
  // A forged delivery among right ones is an attack that failed; only wrong ones, and it is our secret that is wrong.
  const isForgedLast = lastForgedAt !== null && lastForgedAt > (lastSignedAt ?? 0);
  if (isForgedLast && now - lastForgedAt < DAY_MS) reasons.push(finding('signatures_refused', 'degraded'));
  return reasons;
}

function suspended(code: string, reasons: readonly Finding[]): DecidedState {
  return { state: 'suspended_by_plan', reasons: [finding(code, 'broken'), ...reasons] };
}

const finding = (code: string, severity: ReasonSeverity): Finding => ({ code, severity });

const order: readonly ReasonSeverity[] = ['broken', 'degraded', 'notice'];

/** Each code once, at its worst. */
function worstFirst(reasons: readonly Finding[]): Finding[] {
  const sorted = reasons.toSorted((a, b) => order.indexOf(a.severity) - order.indexOf(b.severity));
  return sorted.filter(({ code }, place) => sorted.findIndex((other) => other.code === code) === place);
}

/** Whole days until `at`, counting a part of a day as one. */
export function daysUntil(at: number, now: number): number {
  return Math.max(0, Math.ceil((at - now) / DAY_MS));
}

/**
 * The warning that is due before an expiry: the last of 14, 7 and 1 days that has been reached, or null before them all and
 * after the expiry.
 */
export function dueExpiryWarning(expiresAt: number | null, now: number): (typeof EXPIRY_WARNING_DAYS)[number] | null {
  if (expiresAt === null || expiresAt <= now) return null;
  return EXPIRY_WARNING_DAYS.findLast((days) => expiresAt - now <= days * DAY_MS) ?? null;
}

import { type CallbackPlan, type ConnectionCheck, type ConnectionCode } from '@answerline/whatsapp';
import { RefusedRequest } from '../management-api/api-errors.ts';

/** A check of the connection at Meta, or one that only the installation can make. */
export type WhatsAppCheck = ConnectionCheck<
  ConnectionCheck['check'] | 'phone_number_free',
  ConnectionCode | 'callback_unreachable' | 'phone_number_in_use'
>;

/** Whether the number is free: connected by nobody else in this installation. Who has it is not said. */
export function phoneNumberFree(isFree: boolean): WhatsAppCheck {
  if (isFree) {
    return {
      check: 'phone_number_free',
      status: 'ok',
      message: 'The phone number is connected nowhere else here.',
      action: null,
    };
  }
  return {
    check: 'phone_number_free',
    status: 'failed',
    code: 'phone_number_in_use',
    message: 'This phone number id is connected in another workspace.',
    action: 'Disconnect it there first: two workspaces that answer one number would answer twice.',
  };
}

/** Checks that fail because something is not set up at Meta yet. */
const aboutWebhook: readonly string[] = ['app_subscribed', 'callback', 'fields'];

/** The checks before anything is changed, and the first of each kind that refuses the connection. */
export interface ChecksBefore {
  readonly checks: readonly WhatsAppCheck[];
  /** Also that Meta is away or asks to wait: then nothing is begun. */
  readonly credentials: WhatsAppCheck | undefined;
  readonly webhook: WhatsAppCheck | undefined;
}

/** What stays failed although the webhook is about to be set up as planned. Pure. */
export function beforeSetup(report: readonly WhatsAppCheck[], plan: CallbackPlan): ChecksBefore {
  // A right that may be missing otherwise may not when the plan needs it.
  const checks = report.map((check): WhatsAppCheck =>
    plan.step === 'not_allowed' && check.check === 'scope_management' ? { ...check, status: 'failed' } : check,
  );
  const failed = checks.filter(({ status }) => status === 'failed');
  // Fields are the app's: an override of the number leaves them as they are, and a foreign app's are not ours to set.
  const setsFields = plan.step === 'set_app_subscription' || plan.step === 'by_hand';
  return {
    checks,
    credentials: failed.find((check) => isAboutMeta(check) || !aboutWebhook.includes(check.check)),
    webhook: failed.find(
      ({ check }) => (check === 'callback' && plan.step === 'refuse') || (check === 'fields' && !setsFields),
    ),
  };
}

// Meta is away, or asks to wait: then nothing is begun.
const isAboutMeta = ({ code }: WhatsAppCheck): boolean => code === 'graph_unreachable' || code === 'rate_limited';

/**
 * The checks after it. What the owner still has to do at Meta is a warning: the number is connected, and waits for it. So is a
 * Meta that was away for this look, when what it confirmed just before cannot be undone.
 */
export function afterSetup(checks: readonly WhatsAppCheck[], plan: CallbackPlan, isFinal: boolean): WhatsAppCheck[] {
  const isLeftToTheOwner = (check: WhatsAppCheck): boolean =>
    plan.step === 'by_hand' && aboutWebhook.includes(check.check) && !isAboutMeta(check);
  return checks.map((check) =>
    check.status === 'failed' && (isLeftToTheOwner(check) || (isFinal && isAboutMeta(check)))
      ? { ...check, status: 'warning' }
      : check,
  );
}

const statuses: Readonly<Record<string, number>> = {
  phone_number_in_use: 409,
  callback_in_use: 409,
  rate_limited: 429,
  graph_unreachable: 502,
};

/** Asked to wait without being told how long. Meta counts such calls by the hour. */
const DEFAULT_RETRY_MS = 60_000;

/** The refusal of a connection: its code is that of the first failed check, and it carries them all. */
export function connectionRefused(
  checks: readonly WhatsAppCheck[],
  first: WhatsAppCheck,
  retryAfterMs?: number,
): RefusedRequest {
  const { code = first.check, message, action } = first;
  const status = statuses[code] ?? 422;
  const detail = action === null ? message : `${message} ${action}`;
  return new RefusedRequest(
    code,
    detail,
    status,
    { checks },
    status === 429 ? (retryAfterMs ?? DEFAULT_RETRY_MS) : undefined,
  );
}

import { rank, type Delivery, type SendPhase } from '@answerline/conversation-rules';

/** What a reply's status is made of: one for each part that is sent. */
export interface SendOfReply {
  readonly phase: SendPhase;
  readonly delivery: Delivery | null;
  readonly failure: string | null;
}

/** How a reply is doing: `status` is a phase or a delivery state, `failure` the code of what went wrong. */
export interface ReplyStatus {
  readonly status: string | null;
  readonly failure: string | null;
}

/** Worst first. A part that waits for another try is pending to the reader. */
const byWeight = [
  'failed',
  'superseded',
  'unknown',
  'sending',
  'pending',
  'accepted',
  'sent',
  'delivered',
  'read',
  'played',
];

/** The status of the part that is worst off: a reply has reached its reader when its last part has. Null without parts. */
export function replyStatus(sends: readonly SendOfReply[]): ReplyStatus {
  const [worst] = sends.map(sendStatus).toSorted((a, b) => byWeight.indexOf(a.status) - byWeight.indexOf(b.status));
  return worst ?? { status: null, failure: null };
}

function sendStatus({ phase, delivery, failure }: SendOfReply): { status: string; failure: string | null } {
  if (phase !== 'accepted') return { status: phase === 'retry' ? 'pending' : phase, failure };
  // What reached the phone has not failed, whatever became of an earlier try.
  if (delivery !== null && rank(delivery) > rank('sent')) return { status: delivery, failure: null };
  // Meta took it and said later that it could not deliver it.
  if (failure !== null) return { status: 'failed', failure };
  return { status: delivery ?? 'accepted', failure: null };
}

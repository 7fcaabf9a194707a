import { JetStreamApiCodes, JetStreamApiError, type JetStreamManager, type StoredMsg } from '@nats-io/jetstream';
import { deadLetterSchema, type DeadLetter } from '@answerline/contracts';
import { InvalidInput, Unexpected } from '@answerline/errors';
import { plainHeaders } from './delivery.ts';

/** The stream of dead letters. */
export const deadLetterStream = 'DEAD_LETTERS';

/** A dead letter and its sequence in DEAD_LETTERS, by which it is put back. */
export interface StoredDeadLetter {
  readonly sequence: number;
  readonly deadLetter: DeadLetter;
}

/** Up to `limit` dead letters with a sequence above `afterSequence`, oldest first. */
export async function readDeadLetters(
  manager: JetStreamManager,
  options: { readonly limit: number; readonly afterSequence: number },
): Promise<StoredDeadLetter[]> {
  const found: StoredDeadLetter[] = [];
  let seq = options.afterSequence + 1;
  while (found.length < options.limit) {
    const stored = await orNothing(manager.direct.getMessage(deadLetterStream, { seq, next_by_subj: '>' }));
    if (stored === null) break;
    found.push({ sequence: stored.seq, deadLetter: parse(stored) });
    seq = stored.seq + 1;
  }
  return found;
}

/** The dead letter at `sequence` and the message it is about. Throws InvalidInput when either is gone. */
export async function readForReplay(manager: JetStreamManager, sequence: number) {
  const stored = await orNothing(manager.streams.getMessage(deadLetterStream, { seq: sequence }));
  if (stored === null) {
    throw new InvalidInput(
      'dead_letter_not_found',
      'There is no such dead letter; it may have been put back already.',
      {
        httpStatus: 404,
        context: { sequence },
      },
    );
  }
  const deadLetter = parse(stored);
  const { stream, streamSequence } = deadLetter;
  const original = await orNothing(manager.streams.getMessage(stream, { seq: streamSequence }));
  if (original === null) {
    throw new InvalidInput(
      'dead_letter_original_gone',
      'The message is no longer in its stream and cannot be put back.',
      {
        httpStatus: 410,
        context: { stream, streamSequence },
      },
    );
  }
  // Headers of NATS itself, the old message id among them, are set anew by publishing.
  const headers = Object.entries(plainHeaders(original.header)).filter(([name]) => !name.startsWith('Nats-'));
  return { deadLetter, original, headers: Object.fromEntries(headers) };
}

/**
 * The message id of the next replay: `<id>:r1`, then `<id>:r2`, … It differs from the id before, so that the duplicate
 * window lets it through, and is the same for the same dead letter, so that two attempts to put it back are one.
 */
export function replayId(deadLetter: Pick<DeadLetter, 'messageId' | 'stream' | 'streamSequence'>): string {
  const id = deadLetter.messageId ?? `${deadLetter.stream}:${deadLetter.streamSequence}`;
  const earlier = /^(.*):r(\d+)$/s.exec(id);
  return earlier ? `${earlier[1] ?? ''}:r${Number(earlier[2]) + 1}` : `${id}:r1`;
}

function parse(stored: StoredMsg): DeadLetter {
  try {
    return deadLetterSchema.parse(stored.json());
  } catch (cause) {
    throw new Unexpected('dead_letter_unreadable', 'A dead letter is not of the form that we write.', {
      cause,
      context: { sequence: stored.seq },
    });
  }
}

export async function orNothing(answer: Promise<StoredMsg | null>): Promise<StoredMsg | null> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === JetStreamApiCodes.NoMessageFound) return null;
    throw error;
  }
}

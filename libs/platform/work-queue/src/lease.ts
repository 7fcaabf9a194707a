import { realTimer, type SetTimer } from './timer.ts';

/**
 * Keeps a claim alive while its job runs: calls `renew` every `everyMs`. The claim is lost when `renew` returns false, or
 * when no renewal succeeded for `lostAfterMs` (three times `everyMs` unless told: the length of the lease), whether renewals
 * threw or hung. `onLost` is called at most once, and never after `stop`.
 */
export function startLease(options: {
  readonly everyMs: number;
  readonly lostAfterMs?: number;
  readonly renew: () => Promise<boolean>;
  readonly onLost: () => void;
  readonly setTimer?: SetTimer;
}): { stop(): void } {
  const { everyMs, lostAfterMs = 3 * everyMs, renew, onLost, setTimer = realTimer } = options;
  let over = false;
  let cancelRenewal = () => {};
  let cancelLoss = () => {};

  const stop = () => {
    over = true;
    cancelRenewal();
    cancelLoss();
  };
  const lose = () => {
    if (over) return;
    stop();
    onLost();
  };
  // The lease counts from the moment a renewal was asked for: the database may have granted it that early.
  const expectLossIn = (ms: number) => {
    cancelLoss();
    cancelLoss = setTimer(lose, ms);
  };
  const renewLater = () => {
    cancelRenewal = setTimer(() => void renewNow(), everyMs);
  };
  return { stop };
}

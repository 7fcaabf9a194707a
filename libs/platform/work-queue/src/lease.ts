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
  let cancelNextLoss = () => {};

  const stop = () => {
    over = true;
    cancelRenewal();
    cancelLoss();
    cancelNextLoss();
  };
  const lose = () => {
    if (over) return;
    stop();
    onLost();
  };
  const renewLater = () => {
    cancelRenewal = setTimer(() => void renewNow(), everyMs);
  };

  async function renewNow(): Promise<void> {
    // The lease counts from the moment a renewal was asked for, because the database may have granted it that early.
    cancelNextLoss = setTimer(lose, lostAfterMs);
    const renewed = await renew().catch(() => undefined);
    if (over) return;
    if (renewed === false) return lose();
    if (renewed) [cancelLoss, cancelNextLoss] = [cancelNextLoss, cancelLoss];
    cancelNextLoss();
    renewLater();
  }

  cancelLoss = setTimer(lose, lostAfterMs);
  renewLater();
  return { stop };
}

/** Limits that the sandbox keeps. Meta's own figures are the defaults (Meta, "About the platform", "Throughput"). */
export interface RateLimits {
  readonly pairRate: boolean;
  readonly pairIntervalMs: number;
  readonly pairBurst: number;
  readonly messagesPerSecond: number;
}

interface Burst {
  startedAt: number;
  sent: number;
}

/**
 * The pair rate: one message in `pairIntervalMs` to the same user. Up to `pairBurst` may go within one interval, but
 * they borrow: after a burst of 20 nothing more is taken for 20 intervals, two minutes.
 */
export class PairRate {
  private readonly bursts = new Map<string, Burst>();

  /** Whether a message to this pair (number and user) is taken now; one that is taken counts. */
  take(pair: string, atMs: number, limits: RateLimits): boolean {
    if (!limits.pairRate) return true;
    const burst = this.bursts.get(pair);
    if (!burst || atMs >= burst.startedAt + burst.sent * limits.pairIntervalMs) {
      this.bursts.set(pair, { startedAt: atMs, sent: 1 });
      return true;
    }
    if (atMs >= burst.startedAt + limits.pairIntervalMs || burst.sent >= limits.pairBurst) return false;
    burst.sent += 1;
    return true;
  }

  clear(): void {
    this.bursts.clear();
  }
}

/**
 * Throughput of a business number: a bucket of one second's messages that fills steadily. Meta counts incoming ones
 * too; here only sends do, because what comes in is the tester's choice.
 */
export class Throughput {
  private readonly buckets = new Map<string, { left: number; at: number }>();

  /** Whether this number may send one more message now; one that may counts. */
  take(phoneNumberId: string, atMs: number, limits: RateLimits): boolean {
    const size = limits.messagesPerSecond;
    const bucket = this.buckets.get(phoneNumberId) ?? { left: size, at: atMs };
    bucket.left = Math.min(size, bucket.left + ((atMs - bucket.at) / 1000) * size);
    bucket.at = atMs;
    this.buckets.set(phoneNumberId, bucket);
    if (bucket.left < 1) return false;
    bucket.left -= 1;
    return true;
  }

  clear(): void {
    this.buckets.clear();
  }
}

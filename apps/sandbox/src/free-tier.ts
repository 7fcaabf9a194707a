/** The `pricing` of a status (Meta, "Status messages webhook", "Pricing"). */
export interface Pricing {
  readonly billable: boolean;
  readonly pricing_model: 'PMP';
  readonly category: 'service';
  readonly type: 'free_customer_service' | 'free_entry_point' | 'regular';
}

/**
 * Messages that cost nothing: since October 2026 the first 1,000 that are delivered for a number and month (Meta,
 * "Pricing"). Meta starts the month at midnight in the WABA's time zone, the sandbox in UTC. Whether replies to somebody
 * who came by an ad use them up Meta does not say; here they do not.
 */
export class FreeTier {
  private readonly delivered = new Map<string, number>();

  /** The price of one more message, which counts. */
  take(phoneNumberId: string, atMs: number, isFreeEntryPoint: boolean, freePerMonth: number): Pricing {
    if (isFreeEntryPoint) return pricing('free_entry_point');
    const key = `${phoneNumberId} ${new Date(atMs).toISOString().slice(0, 7)}`;
    const delivered = (this.delivered.get(key) ?? 0) + 1;
    this.delivered.set(key, delivered);
    return pricing(delivered <= freePerMonth ? 'free_customer_service' : 'regular');
  }

  clear(): void {
    this.delivered.clear();
  }
}

function pricing(type: Pricing['type']): Pricing {
  return { billable: type === 'regular', pricing_model: 'PMP', category: 'service', type };
}

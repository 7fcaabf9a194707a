import * as z from 'zod';

/** What a plan allows. Replies of kind answer or abstain count, however many bubbles they have. */
export interface PlanLimits {
  /** AI replies a month; null: no limit. */
  readonly repliesPerMonth: number | null;
  readonly whatsapp: boolean;
  readonly handoff: boolean;
  /**
   * Tokens of the chat model a day of the workspace: what somebody who writes to a chatbot all day can cost at most. An answer takes
   * 2,000 to 5,000; a workspace has for a day what at least a twelfth of its month's replies needs.
   */
  readonly tokensPerDay: { readonly workspace: number; readonly contact: number };
}

/** All plans, smallest first. */
export const plans = {
  free: {
    repliesPerMonth: 100,
    whatsapp: false,
    handoff: false,
    tokensPerDay: { workspace: 250_000, contact: 100_000 },
  },
  starter: {
    repliesPerMonth: 1_000,
    whatsapp: false,
    handoff: false,
    tokensPerDay: { workspace: 1_000_000, contact: 200_000 },
  },
  growth: {
    repliesPerMonth: 5_000,
    whatsapp: true,
    handoff: false,
    tokensPerDay: { workspace: 4_000_000, contact: 300_000 },
  },
  scale: {
    repliesPerMonth: 20_000,
    whatsapp: true,
    handoff: true,
    tokensPerDay: { workspace: 15_000_000, contact: 500_000 },
  },
  enterprise: {
    repliesPerMonth: null,
    whatsapp: true,
    handoff: true,
    tokensPerDay: { workspace: 100_000_000, contact: 1_000_000 },
  },
} as const satisfies Record<string, PlanLimits>;

export const planSchema = z.enum(['free', 'starter', 'growth', 'scale', 'enterprise']);

export type Plan = z.infer<typeof planSchema>;

/** The limits of a stored plan name. Throws TypeError for a name that is no plan: the column has one writer, the operator. */
export function planLimits(plan: string): PlanLimits {
  const parsed = planSchema.safeParse(plan);
  if (!parsed.success) throw new TypeError('A workspace has a plan that does not exist.');
  return plans[parsed.data];
}

/** The plans that have a feature, for `plan_upgrade_required`. */
export function plansWith(feature: 'whatsapp' | 'handoff'): Plan[] {
  return planSchema.options.filter((plan) => plans[plan][feature]);
}

/** Shares of the month's replies at which the owner is warned, the highest first. */
export const QUOTA_WARNINGS = [100, 80] as const;

/** A share that was reached, or 0 for none. */
export type QuotaPercent = (typeof QUOTA_WARNINGS)[number] | 0;

/** The highest share of {@link QUOTA_WARNINGS} that `used` of `limit` replies have reached. */
export function reachedPercent(used: number, limit: number | null): QuotaPercent {
  if (limit === null) return 0;
  return QUOTA_WARNINGS.find((percent) => used * 100 >= limit * percent) ?? 0;
}

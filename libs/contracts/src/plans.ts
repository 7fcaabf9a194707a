import * as z from 'zod';

/** What a plan allows. Replies of kind answer or abstain count, however many bubbles they have. */
export interface PlanLimits {
  /** AI replies a month; null: no limit. */
  readonly repliesPerMonth: number | null;
  readonly whatsapp: boolean;
  readonly handoff: boolean;
}

/** All plans, smallest first. */
export const plans = {
  free: { repliesPerMonth: 100, whatsapp: false, handoff: false },
  starter: { repliesPerMonth: 1_000, whatsapp: false, handoff: false },
  growth: { repliesPerMonth: 5_000, whatsapp: true, handoff: false },
  scale: { repliesPerMonth: 20_000, whatsapp: true, handoff: true },
  enterprise: { repliesPerMonth: null, whatsapp: true, handoff: true },
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

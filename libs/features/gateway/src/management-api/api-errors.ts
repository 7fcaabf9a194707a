import { type Plan, type Problem } from '@answerline/contracts';
import { InvalidInput } from '@answerline/errors';

/** A refusal whose problem has more members than code and detail (RFC 9457 section 3.2). */
export class RefusedRequest extends InvalidInput {
  readonly members: Readonly<Record<string, unknown>>;
  /** With 429: how long the client is to wait. */
  readonly retryAfterMs: number | undefined;

  constructor(
    code: string,
    message: string,
    httpStatus: number,
    members: Readonly<Record<string, unknown>> = {},
    retryAfterMs?: number,
  ) {
    super(code, message, { httpStatus });
    this.members = members;
    this.retryAfterMs = retryAfterMs;
  }
}

/** 404 for whatever is not there, which is also what belongs to another workspace. */
export function notFound(): RefusedRequest {
  return new RefusedRequest('not_found', 'There is nothing here, or it is not yours.', 404);
}

/** 422 that names the fields. */
export function validationFailed(errors: NonNullable<Problem['errors']>): RefusedRequest {
  return new RefusedRequest('validation_failed', 'The request has fields that cannot be taken as they are.', 422, {
    errors,
  });
}

/** 402 with what the client needs to offer the upgrade. */
export function planUpgradeRequired(
  currentPlan: string,
  requiredPlans: readonly Plan[],
  upgradeUrl: string | undefined,
): RefusedRequest {
  return new RefusedRequest('plan_upgrade_required', 'The plan of this workspace does not include this.', 402, {
    currentPlan,
    requiredPlans,
    upgradeUrl: upgradeUrl ?? null,
  });
}

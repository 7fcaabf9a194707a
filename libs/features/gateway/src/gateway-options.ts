import { type Secret } from '@answerline/config';
import { type Plan } from '@answerline/contracts';

/** Nest token of {@link GatewayOptions}. */
export const GATEWAY_OPTIONS = Symbol('GatewayOptions');

/** The settings that the gateway's routes need. */
export interface GatewayOptions {
  /** Where Meta and browsers reach this gateway, without a closing slash. */
  readonly publicUrl: string;
  /** The Bearer key of the operator's routes. Undefined: they are closed. */
  readonly operatorKey: Secret | undefined;
  readonly defaultPlan: Plan;
  /** Where an owner chooses a bigger plan. */
  readonly upgradeUrl: string | undefined;
  /** Whether a WhatsApp channel without an App Secret is refused. */
  readonly requireAppSecret: boolean;
}

import { type Config, type SettingName } from '@answerline/config';
import { commonSettings } from './checked-start.ts';

/** What a process with the gateway in it reads. */
export const gatewaySettings = [
  ...commonSettings,
  'ENCRYPTION_KEYS',
  'OPERATOR_KEY',
  'DEFAULT_PLAN',
  'UPGRADE_URL',
  'REQUIRE_APP_SECRET',
] as const satisfies readonly SettingName[];

/** The gateway's options out of {@link gatewaySettings}. */
export function gatewayOptions(config: Config<(typeof gatewaySettings)[number]>) {
  return {
    publicUrl: config.PUBLIC_URL ?? `http://localhost:${String(config.PORT)}`,
    operatorKey: config.OPERATOR_KEY,
    defaultPlan: config.DEFAULT_PLAN,
    upgradeUrl: config.UPGRADE_URL,
    requireAppSecret: config.REQUIRE_APP_SECRET,
  };
}

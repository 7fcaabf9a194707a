import {
  META_GRAPH_URL,
  refuseUnsafe,
  sandboxIsOn,
  setNames,
  type Config,
  type Environment,
  type SettingName,
} from '@answerline/config';
import { createLogger, type Logger } from '@answerline/logging';
import { type StartingProcess } from '@answerline/lifecycle';

/** What every process reads. */
export const commonSettings = [
  'NODE_ENV',
  'HOST',
  'PORT',
  'PUBLIC_URL',
  'LOG_LEVEL',
  'DATA_DIR',
  'DATABASE_URL',
  'DATABASE_POOL_SIZE',
  'NATS_URL',
  'SANDBOX',
  'SANDBOX_PORT',
  'META_GRAPH_BASE_URL',
  'META_GRAPH_VERSION',
  'ALLOW_UNSAFE',
] as const satisfies readonly SettingName[];

/** {@link commonSettings} as loaded. */
export type CommonConfig = Config<(typeof commonSettings)[number]>;

/** The secrets whose absence the start rule looks at. */
const guardedSecrets = ['ENCRYPTION_KEYS', 'AUTH_SECRET', 'INTERNAL_TOKEN', 'OPERATOR_KEY'] as const;

/**
 * Refuses a start that is unsafe where it would run, says which refusals were overridden, and makes the process's logger.
 *
 * @param generated secrets that the process made up for itself
 * @returns the logger, and where Graph calls go
 * @throws ConfigError in one line when the start is refused
 */
export function checkedStart(
  starting: StartingProcess,
  name: string,
  config: CommonConfig,
  env: Environment,
  generated: readonly SettingName[] = [],
): { logger: Logger; hasSandbox: boolean; graphBaseUrl: string } {
  const hasSandbox = sandboxIsOn(config.SANDBOX, config.META_GRAPH_BASE_URL);
  refuseUnsafe({
    nodeEnv: config.NODE_ENV,
    publicUrl: config.PUBLIC_URL,
    sandbox: hasSandbox,
    graphBaseUrl: config.META_GRAPH_BASE_URL,
    generated,
    set: setNames([...guardedSecrets], env),
    allowUnsafe: config.ALLOW_UNSAFE,
  });
  const logger = createLogger({ app: name, level: config.LOG_LEVEL, pretty: process.stdout.isTTY === true });
  starting.logTo(logger);
  if (config.ALLOW_UNSAFE.length > 0) logger.warn({ settings: config.ALLOW_UNSAFE }, 'Unsafe settings are allowed');
  const sandboxUrl = `http://127.0.0.1:${String(config.SANDBOX_PORT)}`;
  return { logger, hasSandbox, graphBaseUrl: config.META_GRAPH_BASE_URL ?? (hasSandbox ? sandboxUrl : META_GRAPH_URL) };
}

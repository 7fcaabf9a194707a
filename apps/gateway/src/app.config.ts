import {
  loadConfig,
  readEnvironment,
  refuseUnsafe,
  sandboxIsOn,
  setNames,
  type Config,
  type Environment,
} from '@answerline/config';

const names = [
  'NODE_ENV',
  'HOST',
  'PORT',
  'PUBLIC_URL',
  'LOG_LEVEL',
  'DATA_DIR',
  'DATABASE_URL',
  'DATABASE_POOL_SIZE',
  'NATS_URL',
  'ENCRYPTION_KEYS',
  'OPERATOR_KEY',
  'DEFAULT_PLAN',
  'UPGRADE_URL',
  'REQUIRE_APP_SECRET',
  'SANDBOX',
  'META_GRAPH_BASE_URL',
  'ALLOW_UNSAFE',
] as const;
const required = ['DATABASE_URL', 'NATS_URL', 'ENCRYPTION_KEYS'] as const;

export type GatewayConfig = Config<(typeof names)[number], (typeof required)[number]>;

/** The settings of this process. Throws ConfigError for wrong ones, and for ones that are unfit for where it runs. */
export function loadGatewayConfig(env: Environment = readEnvironment()): GatewayConfig {
  const config = loadConfig(names, env, { required });
  refuseUnsafe({
    nodeEnv: config.NODE_ENV,
    publicUrl: config.PUBLIC_URL,
    sandbox: sandboxIsOn(config.SANDBOX, config.META_GRAPH_BASE_URL),
    graphBaseUrl: config.META_GRAPH_BASE_URL,
    generated: [],
    set: setNames(['ENCRYPTION_KEYS', 'AUTH_SECRET', 'INTERNAL_TOKEN', 'OPERATOR_KEY'], env),
    allowUnsafe: config.ALLOW_UNSAFE,
  });
  return config;
}

export { ConfigError } from './config-error.ts';
export { renderEnvExample, settingsCatalogue, type SettingRow } from './env-example.ts';
export { loadConfig, readDotEnv, readEnvironment, setNames, type Config, type Environment } from './load-config.ts';
export { Secret } from './secret.ts';
export { type EncryptionKey } from './setting-schemas.ts';
export { settingNames, settings, type GuardedName, type SettingName, type SettingValue } from './settings.ts';
export {
  META_GRAPH_URL,
  refuseUnsafe,
  sandboxIsOn,
  unsafeSettings,
  type StartFacts,
  type UnsafeSetting,
} from './unsafe-settings.ts';

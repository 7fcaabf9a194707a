import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { type Environment, type SettingName } from '@answerline/config';
import { generateToken } from '@answerline/secrets';

/** The secrets that standalone makes up when nobody has set them. */
const makers = {
  ENCRYPTION_KEYS: () => `k1:${randomBytes(32).toString('base64')}`,
  OPERATOR_KEY: () => generateToken(32),
} as const satisfies Partial<Record<SettingName, () => string>>;

/**
 * Fills in the secrets that are not set: made once, kept in DATA_DIR/secrets.json (0600). Without that file what is stored
 * encrypted beside it cannot be read any more.
 */
export function withGeneratedSecrets(
  env: Environment,
  dataDir: string,
): { readonly env: Environment; readonly generated: readonly SettingName[] } {
  const missing = (Object.keys(makers) as (keyof typeof makers)[]).filter((name) => !env[name] && !env[`${name}_FILE`]);
  const file = join(dataDir, 'secrets.json');
  const kept = existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>) : {};
  const secrets = Object.fromEntries(missing.map((name) => [name, kept[name] ?? makers[name]()]));
  if (missing.some((name) => kept[name] === undefined)) {
    mkdirSync(dataDir, { recursive: true });
    writeFileSync(file, `${JSON.stringify({ ...kept, ...secrets }, null, 2)}\n`, { mode: 0o600 });
  }
  return { env: { ...env, ...secrets }, generated: missing };
}

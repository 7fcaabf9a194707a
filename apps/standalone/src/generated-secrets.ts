import { randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { ConfigError, type Environment, type SettingName } from '@answerline/config';
import { generateToken } from '@answerline/secrets';
import { writePrivateFile } from './write-private-file.ts';

/** The secrets that standalone makes up when nobody has set them. */
const makers = {
  ENCRYPTION_KEYS: () => `k1:${randomBytes(32).toString('base64')}`,
  OPERATOR_KEY: () => generateToken(32),
  INTERNAL_TOKEN: () => generateToken(32),
} as const satisfies Partial<Record<SettingName, () => string>>;

/** A secret that was made up for this DATA_DIR; undefined when none was. */
export function generatedSecret(dataDir: string, name: keyof typeof makers): string | undefined {
  const file = join(dataDir, 'secrets.json');
  return existsSync(file) ? (JSON.parse(readFileSync(file, 'utf8')) as Record<string, string>)[name] : undefined;
}

/**
 * Fills in the secrets that are not set: made once, kept in DATA_DIR/secrets.json (0600). Without that file what is stored
 * encrypted beside it cannot be read any more.
 *
 * @throws ConfigError when DATA_DIR cannot be made or written to
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
    try {
      mkdirSync(dataDir, { recursive: true });
      writePrivateFile(file, `${JSON.stringify({ ...kept, ...secrets }, null, 2)}\n`);
    } catch (error) {
      const why = (error as NodeJS.ErrnoException).code ?? 'no reason given';
      throw new ConfigError([`DATA_DIR: ${dataDir} cannot be written to (${why}): set DATA_DIR to a folder of yours`]);
    }
  }
  return { env: { ...env, ...secrets }, generated: missing };
}

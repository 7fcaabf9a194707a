import { readFileSync } from 'node:fs';
import { parseEnv } from 'node:util';
import { ConfigError } from './config-error.ts';
import { settingOf, type SettingName, type SettingValue } from './settings.ts';

/** Variables as `process.env` has them. */
export type Environment = Readonly<Record<string, string | undefined>>;

/** The chosen settings, parsed; those in `R` are there for certain. */
export type Config<N extends SettingName, R extends N = never> = {
  readonly [K in N]: K extends R ? Exclude<SettingValue<K>, undefined> : SettingValue<K>;
};

/**
 * Reads the settings called `names` out of `env`. An empty value counts as not set; variables that nobody asked for are
 * ignored. A secret can also come from a file: `OPERATOR_KEY_FILE=/run/secrets/operator_key` (its last line break is cut).
 * Those in `options.required` must be set.
 *
 * @returns a frozen object with one property for each name
 * @throws ConfigError that lists every problem, one line each
 */
export function loadConfig<const N extends SettingName, const R extends N = never>(
  names: readonly N[],
  env: Environment = process.env,
  options: { readonly required?: readonly R[] } = {},
): Config<N, R> {
  const required: readonly SettingName[] = options.required ?? [];
  const values: Partial<Record<SettingName, unknown>> = {};
  const problems: string[] = [];
  for (const name of names) {
    const setting = settingOf(name);
    const problem = (what: string) => problems.push(`${name} ${what}, for example ${name}=${setting.example}`);
    const text = setting.secret ? textOrFile(name, env, (line) => problems.push(line)) : textOf(name, env);
    if (text === unreadable) continue;
    const given = text ?? setting.default;
    if (given === undefined) {
      values[name] = undefined;
      if (required.includes(name)) problem('is not set');
      continue;
    }
    const parsed = setting.schema.safeParse(given);
    if (parsed.success) values[name] = parsed.data;
    else problem(parsed.error.issues[0]?.message ?? 'is wrong');
  }
  if (problems.length > 0) throw new ConfigError(problems);
  return Object.freeze(values) as Config<N, R>;
}

/**
 * What the `.env` file at `path` sets; nothing when there is no such file.
 * @throws ConfigError when there is one that cannot be read
 */
export function readDotEnv(path: string): Environment {
  try {
    return parseEnv(readFileSync(path, 'utf8'));
  } catch (error) {
    if (codeOf(error) === 'ENOENT') return {};
    throw new ConfigError([`${path} cannot be read (${codeOf(error)})`]);
  }
}

/**
 * The variables of this process over those of the `.env` file at `path`. An empty variable does not hide one of the file,
 * because empty counts as not set.
 */
export function readEnvironment(path = '.env', env: Environment = process.env): Environment {
  const set = Object.entries(env).filter(([, value]) => value !== undefined && value.trim() !== '');
  return { ...readDotEnv(path), ...Object.fromEntries(set) };
}

/** The names out of `names` that `env` sets, directly or by a `_FILE` variable: what the start rule asks for. */
export function setNames<const N extends SettingName>(names: readonly N[], env: Environment): N[] {
  return names.filter((name) => textOf(name, env) !== undefined || textOf(`${name}_FILE`, env) !== undefined);
}

const unreadable = Symbol('unreadable');

function textOf(name: string, env: Environment): string | undefined {
  const text = env[name]?.trim();
  return text === '' ? undefined : text;
}

function textOrFile(name: SettingName, env: Environment, report: (line: string) => void) {
  const text = textOf(name, env);
  const path = textOf(`${name}_FILE`, env);
  if (path === undefined) return text;
  if (text !== undefined) {
    report(`${name} and ${name}_FILE are both set: keep one of them`);
    return unreadable;
  }
  try {
    const content = readFileSync(path, 'utf8').trim();
    if (content !== '') return content;
    report(`${name}_FILE names an empty file`);
  } catch (error) {
    report(`${name}_FILE names a file that cannot be read (${codeOf(error)}), for example ${fileExample(name)}`);
  }
  return unreadable;
}

const fileExample = (name: string) => `${name}_FILE=/run/secrets/${name.toLowerCase()}`;

const codeOf = (error: unknown) =>
  typeof error === 'object' && error !== null && 'code' in error ? String(error.code) : 'no reason given';

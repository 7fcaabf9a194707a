import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { inspect } from 'node:util';
import { afterAll, describe, expect, it } from '@jest/globals';
import { ConfigError } from './config-error.ts';
import { loadConfig, readDotEnv, readEnvironment, setNames } from './load-config.ts';

const folder = mkdtempSync(join(tmpdir(), 'answerline-config-'));
afterAll(() => rmSync(folder, { recursive: true }));
const file = (name: string, content: string) => {
  const path = join(folder, name);
  writeFileSync(path, content);
  return path;
};
const problemsOf = (load: () => unknown): readonly string[] => {
  try {
    load();
  } catch (error) {
    if (error instanceof ConfigError) return error.problems;
    throw error;
  }
  throw new Error('No ConfigError');
};
const key = (byte: number) => Buffer.alloc(32, byte).toString('base64');

describe('loadConfig', () => {
  it('gives defaults, and undefined where there is none', () => {
    const config = loadConfig(['PORT', 'DATABASE_URL', 'OPERATOR_KEY', 'TRUSTED_PROXIES'], {});
    expect(config).toEqual({ PORT: 3000, DATABASE_URL: undefined, OPERATOR_KEY: undefined, TRUSTED_PROXIES: [] });
  });

  it('takes an empty or blank value as not set', () => {
    expect(loadConfig(['PORT', 'PUBLIC_URL'], { PORT: '', PUBLIC_URL: '  ' })).toEqual({
      PORT: 3000,
      PUBLIC_URL: undefined,
    });
  });

  it('freezes what it returns', () => {
    expect(Object.isFrozen(loadConfig(['PORT'], {}))).toBe(true);
  });

  it('ignores variables that nobody asked for, right or wrong', () => {
    expect(loadConfig(['HOST'], { PORT: 'wrong', PATH: '/bin' })).toEqual({ HOST: '127.0.0.1' });
  });

  it.each([
    ['PORT', '8080', 8080],
    ['PORT', ' 0 ', 0],
    ['CHAT_MODEL_INPUT_PRICE', '0.25', 0.25],
    ['CHAT_MODEL_OUTPUT_PRICE', '2', 2],
    ['SANDBOX', 'off', false],
    ['SANDBOX', 'true', true],
    ['META_GRAPH_BASE_URL', 'https://graph.facebook.com/', 'https://graph.facebook.com'],
    ['NATS_URL', 'nats://a:4222,nats://b:4222', 'nats://a:4222,nats://b:4222'],
    ['RAG_URL', 'grpc://[::1]:5000', 'grpc://[::1]:5000'],
    ['TRUSTED_PROXIES', '10.0.0.0/8, ::1', ['10.0.0.0/8', '::1']],
    ['ALLOW_UNSAFE', 'SANDBOX,OPERATOR_KEY', ['SANDBOX', 'OPERATOR_KEY']],
    ['MAIL_FROM', 'Answerline <no-reply@example.com>', 'Answerline <no-reply@example.com>'],
    ['MAIL_FROM', 'no-reply@example.com', 'no-reply@example.com'],
  ] as const)('reads %s=%s', (name, text, value) => {
    expect(loadConfig([name], { [name]: text })).toEqual({ [name]: value });
  });

  it.each([
    ['PORT', '65536'],
    ['PORT', '-1'],
    ['PORT', '80.5'],
    ['PORT', '1e3'],
    ['PORT', '0x50'],
    ['CHAT_MODEL_INPUT_PRICE', '0,25'],
    ['CHAT_MODEL_INPUT_PRICE', '-1'],
    ['CHAT_MODEL_INPUT_PRICE', '1e9'],
    ['NODE_ENV', 'staging'],
    ['LOG_LEVEL', 'loud'],
    ['SANDBOX', 'maybe'],
    ['DATABASE_URL', 'mysql://localhost/x'],
    ['DATABASE_URL', 'localhost:5432'],
    ['NATS_URL', 'nats://a:4222,b'],
    ['RAG_URL', 'rag:5000'],
    ['RAG_URL', 'grpc://rag'],
    ['RAG_URL', 'grpc://rag:5000/x'],
    ['RAG_URL', 'http://rag:5000'],
    ['GRPC_PORT', '0'],
    ['PUBLIC_URL', 'example.com'],
    ['PUBLIC_URL', 'https://example.com/?a=1'],
    ['META_GRAPH_VERSION', '26'],
    ['TRUSTED_PROXIES', '10.0.0.0/33'],
    ['TRUSTED_PROXIES', 'proxy.example.com'],
    ['MAIL_FROM', 'Answerline <nobody>'],
    ['OPERATOR_EMAIL', 'nobody'],
    ['ALLOW_UNSAFE', 'EVERYTHING'],
    ['OPERATOR_KEY', 'short'],
    ['ENCRYPTION_KEYS', 'k1:c2hvcnQ='],
    ['ENCRYPTION_KEYS', `k1:${key(1)},k1:${key(2)}`],
    ['ENCRYPTION_KEYS', `K 1:${key(1)}`],
  ] as const)('refuses %s=%s in one line with the name and an example, without the value', (name, text) => {
    const problems = problemsOf(() => loadConfig([name], { [name]: text }));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(new RegExp(`^${name} (must|may) .+, for example ${name}=.+$`));
    expect(problems[0]?.split(', for example')[0]).not.toContain(` ${text}`);
  });

  it('lists every problem at once', () => {
    const load = () =>
      loadConfig(['PORT', 'DATABASE_URL', 'SANDBOX'], { PORT: 'x', SANDBOX: 'x' }, { required: ['DATABASE_URL'] });
    expect(problemsOf(load)).toEqual([
      'PORT must be a whole number from 0 to 65535, for example PORT=3000',
      'DATABASE_URL is not set, for example DATABASE_URL=postgres://user:password@localhost:5432/answerline',
      'SANDBOX must be on or off, for example SANDBOX=off',
    ]);
  });

  it('never prints a secret, neither in an error nor when the configuration is printed', () => {
    const planted = 'planted-secret-0123456789-0123456789';
    const names = ['OPERATOR_KEY', 'ENCRYPTION_KEYS', 'SMTP_URL', 'DATABASE_URL'] as const;
    const wrong = Object.fromEntries(names.map((name) => [name, `${planted} ${planted}`]));
    const text = problemsOf(() => loadConfig(names, wrong)).join('\n');
    expect(text.split('\n')).toHaveLength(4);
    expect(text).not.toContain(planted);

    const config = loadConfig(['OPERATOR_KEY', 'ENCRYPTION_KEYS'], {
      OPERATOR_KEY: planted,
      ENCRYPTION_KEYS: `k1:${key(7)}`,
    });
    const printed = `${inspect(config, { depth: 9, showHidden: true })} ${JSON.stringify(config)} ${String(config.OPERATOR_KEY)}`;
    expect(printed).not.toContain(planted);
    expect(printed).not.toContain(key(7));
    expect(printed).toContain('[redacted]');
    expect(inspect(config.OPERATOR_KEY)).toBe('[redacted]');
    expect(config.OPERATOR_KEY?.reveal()).toBe(planted);
  });

  it('reads a key ring in its order', () => {
    const { ENCRYPTION_KEYS } = loadConfig(['ENCRYPTION_KEYS'], { ENCRYPTION_KEYS: `new:${key(2)}, old:${key(1)}` });
    expect(ENCRYPTION_KEYS?.reveal().map(({ id, key: bytes }) => [id, bytes.length, bytes[0]])).toEqual([
      ['new', 32, 2],
      ['old', 32, 1],
    ]);
  });

  it('reads a secret from the file that _FILE names', () => {
    const path = file('operator-key', `${'x'.repeat(40)}\n`);
    const { OPERATOR_KEY } = loadConfig(['OPERATOR_KEY'], { OPERATOR_KEY_FILE: path });
    expect(OPERATOR_KEY?.reveal()).toBe('x'.repeat(40));
  });

  it.each([
    ['missing', () => ({ OPERATOR_KEY_FILE: join(folder, 'missing') }), /cannot be read \(ENOENT\)/],
    ['empty', () => ({ OPERATOR_KEY_FILE: file('empty', '\n') }), /an empty file/],
    ['given twice', () => ({ OPERATOR_KEY_FILE: '/x', OPERATOR_KEY: 'y'.repeat(40) }), /both set/],
    ['too short', () => ({ OPERATOR_KEY_FILE: file('short', 'short') }), /at least 32 characters/],
  ])('refuses a secret file that is %s', (_what, env, message) => {
    const problems = problemsOf(() => loadConfig(['OPERATOR_KEY'], env()));
    expect(problems).toHaveLength(1);
    expect(problems[0]).toMatch(message);
  });

  it('has no _FILE for what is not secret', () => {
    expect(loadConfig(['PORT'], { PORT_FILE: '/missing' })).toEqual({ PORT: 3000 });
  });
});

describe('.env', () => {
  it('is read, and lies under the variables of the process', () => {
    const path = file('.env', 'PORT=4000\nHOST=0.0.0.0\n# no\nLOG_LEVEL="warn"\n');
    expect(readDotEnv(path)).toEqual({ PORT: '4000', HOST: '0.0.0.0', LOG_LEVEL: 'warn' });
    expect(readEnvironment(path, { PORT: '5000', HOST: '' })).toEqual({
      PORT: '5000',
      HOST: '0.0.0.0',
      LOG_LEVEL: 'warn',
    });
  });

  it('may be missing, but not unreadable', () => {
    expect(readDotEnv(join(folder, 'missing'))).toEqual({});
    expect(problemsOf(() => readDotEnv(folder))).toEqual([`${folder} cannot be read (EISDIR)`]);
  });

  it('counts a secret from a file as set', () => {
    const env = { OPERATOR_KEY_FILE: '/run/secrets/operator_key', AUTH_SECRET: ' ', INTERNAL_TOKEN: 'x' };
    expect(setNames(['OPERATOR_KEY', 'AUTH_SECRET', 'INTERNAL_TOKEN'], env)).toEqual([
      'OPERATOR_KEY',
      'INTERNAL_TOKEN',
    ]);
  });
});

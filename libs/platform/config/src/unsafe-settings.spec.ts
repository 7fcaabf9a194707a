import { describe, expect, it } from '@jest/globals';
import { ConfigError } from './config-error.ts';
import { refuseUnsafe, sandboxIsOn, unsafeSettings, type StartFacts } from './unsafe-settings.ts';

const secrets = ['ENCRYPTION_KEYS', 'AUTH_SECRET', 'INTERNAL_TOKEN', 'OPERATOR_KEY'] as const;
const sound: StartFacts = {
  nodeEnv: 'production',
  publicUrl: 'https://answerline.example.com',
  sandbox: false,
  graphBaseUrl: undefined,
  generated: [],
  set: [...secrets],
  allowUnsafe: [],
};
const trial: StartFacts = {
  ...sound,
  nodeEnv: 'development',
  publicUrl: undefined,
  sandbox: true,
  generated: [...secrets],
  set: [],
};
const namesOf = (facts: StartFacts) => unsafeSettings(facts).map(({ name }) => name);

describe('unsafeSettings', () => {
  it.each([
    ['everything sound', sound, []],
    ['a trial on this machine', trial, []],
    ['the same in production', { ...trial, nodeEnv: 'production' }, ['SANDBOX', ...secrets]],
    ['sandbox', { ...sound, sandbox: true }, ['SANDBOX']],
    ['another Graph URL', { ...sound, graphBaseUrl: 'https://graph.example.com' }, ['META_GRAPH_BASE_URL']],
    ['Graph URL without TLS', { ...sound, graphBaseUrl: 'http://graph.facebook.com' }, ['META_GRAPH_BASE_URL']],
    ['a look-alike', { ...sound, graphBaseUrl: 'https://graph.facebook.com.example' }, ['META_GRAPH_BASE_URL']],
    [
      'a user that looks like Meta',
      { ...sound, graphBaseUrl: 'https://graph.facebook.com@x.example' },
      ['META_GRAPH_BASE_URL'],
    ],
    ['no URL at all', { ...sound, graphBaseUrl: 'graph.facebook.com' }, ['META_GRAPH_BASE_URL']],
    ["Meta's own", { ...sound, graphBaseUrl: 'https://graph.facebook.com/' }, []],
    ['a secret not set', { ...sound, set: ['ENCRYPTION_KEYS', 'AUTH_SECRET', 'INTERNAL_TOKEN'] }, ['OPERATOR_KEY']],
    ['a secret generated', { ...sound, generated: ['ENCRYPTION_KEYS'] }, ['ENCRYPTION_KEYS']],
    [
      'allowed',
      { ...sound, sandbox: true, set: [], allowUnsafe: ['SANDBOX', 'AUTH_SECRET'] },
      ['ENCRYPTION_KEYS', 'INTERNAL_TOKEN', 'OPERATOR_KEY'],
    ],
  ] as const)('%s', (_what, facts, names) => {
    expect(namesOf(facts)).toEqual(names);
  });

  it.each([
    ['http://localhost:3000', false],
    ['http://LOCALHOST.:3000', false],
    ['http://shop.localhost', false],
    ['http://127.0.0.1:3000', false],
    ['http://127.1', false],
    ['http://[::1]:3000', false],
    ['http://0.0.0.0:3000', true],
    ['http://192.168.1.10', true],
    ['http://localhost.example.com', true],
    ['http://127.0.0.1.example.com', true],
    ['https://abc.tunnel.example', true],
    ['nonsense', true],
  ])('PUBLIC_URL %s counts as reachable: %s', (publicUrl, isReachable) => {
    expect(namesOf({ ...trial, publicUrl }).length > 0).toBe(isReachable);
  });
});

describe('refuseUnsafe', () => {
  it('says in one line what is wrong and how to go on', () => {
    const start = () => refuseUnsafe({ ...sound, sandbox: true, generated: ['OPERATOR_KEY'] });
    expect(start).toThrow(ConfigError);
    expect(start).toThrow(
      'Refusing to start, because NODE_ENV is production: SANDBOX is on; OPERATOR_KEY was generated. ' +
        'Mend this, or accept the risk with ALLOW_UNSAFE=SANDBOX,OPERATOR_KEY',
    );
  });

  it('lets a sound installation start', () => {
    expect(() => refuseUnsafe(sound)).not.toThrow();
  });
});

describe('sandboxIsOn', () => {
  it.each([
    [undefined, undefined, true],
    [undefined, 'https://graph.facebook.com', false],
    [false, undefined, false],
    [false, 'https://graph.facebook.com', false],
    [true, undefined, true],
  ])('SANDBOX %s with META_GRAPH_BASE_URL %s: %s', (sandbox, graphBaseUrl, isOn) => {
    expect(sandboxIsOn(sandbox, graphBaseUrl)).toBe(isOn);
  });

  it('refuses both', () => {
    expect(() => sandboxIsOn(true, 'https://graph.facebook.com')).toThrow(ConfigError);
  });
});

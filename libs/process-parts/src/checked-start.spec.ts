import { loadConfig, type Environment } from '@answerline/config';
import { HealthRegistry } from '@answerline/lifecycle';
import { describe, expect, it } from '@jest/globals';
import { checkedStart, commonSettings } from './checked-start.ts';

const secret = 's'.repeat(32);
const local = { LOG_LEVEL: 'silent', ENCRYPTION_KEYS: `k1:${Buffer.alloc(32, 1).toString('base64')}` };
const open = { ...local, PUBLIC_URL: 'https://answerline.example.com' };
const fit = { ...open, SANDBOX: 'off', OPERATOR_KEY: secret, AUTH_SECRET: secret, INTERNAL_TOKEN: secret };

function start(env: Environment, generated: readonly 'OPERATOR_KEY'[] = []) {
  const starting = { health: new HealthRegistry(), onStop: () => undefined, logTo: () => undefined };
  return checkedStart(starting, 'spec', loadConfig(commonSettings, env), env, generated);
}

describe('checkedStart', () => {
  it('lets anything run where only its owner reaches it, and sends Graph calls to the sandbox', () => {
    expect(start(local)).toMatchObject({ hasSandbox: true, graphBaseUrl: 'http://127.0.0.1:4400' });
  });

  it('sends Graph calls to Meta without a sandbox, and to the given address where there is one', () => {
    expect(start(fit).graphBaseUrl).toBe('https://graph.facebook.com');
    expect(start({ ...local, META_GRAPH_BASE_URL: 'http://127.0.0.1:9' })).toMatchObject({
      hasSandbox: false,
      graphBaseUrl: 'http://127.0.0.1:9',
    });
  });

  it('refuses, in one line, to run for others with what is only fit for trying things out', () => {
    expect(() => start(open)).toThrow(/SANDBOX is on/);
    expect(() => start({ ...fit, OPERATOR_KEY: '' })).toThrow(/OPERATOR_KEY is not set/);
    expect(() => start(fit, ['OPERATOR_KEY'])).toThrow(/OPERATOR_KEY/);
    expect(() => start({ ...local, NODE_ENV: 'production' })).toThrow(/SANDBOX/);
  });
});

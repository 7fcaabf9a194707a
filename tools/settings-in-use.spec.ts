import { globSync, readFileSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import { settingNames, type SettingName } from '@answerline/config';
import { describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Settings that have their name and place in the catalogue already and are read by a later part. */
const ofLaterParts: Readonly<Partial<Record<SettingName, string>>> = {
  TRUSTED_PROXIES: 'rate limits by address come with sign-in and web chat',
  METRICS_PORT: 'metrics',
  EMBEDDING_MODEL_DIR: 'a model inside the process',
  SIGN_UP: 'accounts',
};

/** The settings that no file of `texts` names. */
function unread(names: readonly SettingName[], texts: readonly string[]): SettingName[] {
  return names.filter((name) => !texts.some((text) => new RegExp(`\\b${name}\\b`).test(text)));
}

const sources = globSync('{apps,libs}/**/src/**/*.ts', {
  cwd: root,
  exclude: (path) => /(^|\/)(node_modules|dist)$|spec\.ts$|^libs\/platform\/config$/.test(path),
}).map((path) => readFileSync(`${root}${path}`, 'utf8'));

describe('a setting of the catalogue', () => {
  it('is read by some code, or belongs to a later part', () => {
    expect(unread(settingNames, sources).toSorted()).toEqual(Object.keys(ofLaterParts).toSorted());
  });

  it('is found out when no code reads it', () => {
    expect(unread(['PORT', 'HOST'], ["loadConfig(['PORT', 'GHOST'])"])).toEqual(['HOST']);
  });
});

import { parseEnv } from 'node:util';
import { describe, expect, it } from '@jest/globals';
import { renderEnvExample, settingsCatalogue } from './env-example.ts';
import { loadConfig } from './load-config.ts';
import { settingNames, settingOf } from './settings.ts';

describe('the catalogue', () => {
  it.each(settingsCatalogue())('describes $name in a sentence', ({ description }) => {
    expect(description).toMatch(/^[A-Z].{10,}\.$/);
  });

  it.each(settingNames.filter((name) => !settingOf(name).example.includes('<output of')))(
    'has an example of %s that is a right value',
    (name) => {
      const text = settingOf(name).example.replace(/^<.*>$/, 'key');
      expect(() => loadConfig([name], { [name]: text })).not.toThrow();
    },
  );

  it.each(settingNames)('has a right default of %s, or none', (name) => {
    expect(() => loadConfig([name], {})).not.toThrow();
  });
});

describe('.env.example', () => {
  it('changes nothing as it is', () => {
    expect(parseEnv(renderEnvExample())).toEqual({});
  });

  it('has every setting, with its default, once the # is taken away', () => {
    const uncommented = parseEnv(renderEnvExample().replace(/^#(?=[A-Z])/gm, ''));
    expect(Object.keys(uncommented).toSorted()).toEqual(settingNames.toSorted());
    expect(uncommented.PORT).toBe('3000');
    expect(() => loadConfig(settingNames, uncommented)).not.toThrow();
  });
});

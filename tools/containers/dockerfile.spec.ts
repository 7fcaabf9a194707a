import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';
import { filesOfContext } from './docker-ignore.ts';
import { readDockerfile } from './dockerfile.ts';

describe('readDockerfile', () => {
  it('reads stages with what they copy, run and say', () => {
    const text = `
# A comment
FROM node:24.21-bookworm-slim AS base
WORKDIR /app
FROM base AS built
COPY . .
RUN --mount=type=cache,target=/root/.npm npm ci \\
    && rm -r old
FROM base AS app
ENV NODE_ENV=production PORT=3000
COPY --from=built /app/image ./
USER 1000:1000
LABEL title="An app"
HEALTHCHECK --interval=10s CMD ["node", "-e", "1"]
CMD ["node", "main.js"]
`;
    expect(readDockerfile(text)).toEqual([
      { name: 'base', base: 'node:24.21-bookworm-slim', instructions: [{ kind: 'workdir', path: '/app' }] },
      {
        name: 'built',
        base: 'base',
        instructions: [
          { kind: 'copy', from: undefined, source: '.', target: '.' },
          { kind: 'run', script: 'npm ci     && rm -r old', fetches: true },
        ],
      },
      {
        name: 'app',
        base: 'base',
        instructions: [
          { kind: 'env', values: { NODE_ENV: 'production', PORT: '3000' } },
          { kind: 'copy', from: 'built', source: '/app/image', target: './' },
          { kind: 'user', uid: 1000, gid: 1000 },
          { kind: 'words', keyword: 'LABEL' },
          { kind: 'health', argv: ['node', '-e', '1'] },
          { kind: 'command', argv: ['node', 'main.js'] },
        ],
      },
    ]);
  });

  it.each([
    'ADD https://example.com/file ./',
    'COPY --chown=1000 . .',
    'COPY one two three',
    'COPY dist/*.js ./',
    'RUN rm -r /tmp/cache',
    'RUN --network=none npm ci',
    'RUN --mount=type=secret,id=key npm ci',
    'RUN ["npm", "ci"]',
    'USER node',
    'CMD node main.js',
    'ENTRYPOINT ["node"]',
    'ENV NAME="two words"',
    'VOLUME /data',
    'ONBUILD RUN npm ci',
    'HEALTHCHECK NONE',
    'FROM other',
  ])('refuses what it does not perform: %s', (line) => {
    expect(() => readDockerfile(`FROM base AS app\n${line}\n`)).toThrow('Line 2 of the Dockerfile is not understood');
  });
});

describe('filesOfContext', () => {
  it('lets the last rule that matches decide, also for what lies under a folder', () => {
    const folder = mkdtempSync(join(tmpdir(), 'answerline-context-'));
    const put = (path: string): void => {
      mkdirSync(dirname(join(folder, path)), { recursive: true });
      writeFileSync(join(folder, path), '');
    };
    for (const path of ['.env', 'secrets/key', 'package.json', 'tools/one.mjs', 'tools/two.mjs']) put(path);
    for (const path of [
      'apps/a/src/main.ts',
      'apps/a/src/main.spec.ts',
      'apps/a/dist/main.js',
      'apps/a/package.json',
    ]) {
      put(path);
    }
    const rules = '# words\n*\n!package.json\n!apps\n!tools/one.mjs\n\n**/dist\n**/*spec.ts\n';
    expect(filesOfContext(folder, rules)).toEqual([
      'apps/a/package.json',
      'apps/a/src/main.ts',
      'package.json',
      'tools/one.mjs',
    ]);
    rmSync(folder, { recursive: true });
  });
});

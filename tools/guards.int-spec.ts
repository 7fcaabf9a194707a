import { spawnSync } from 'node:child_process';
import {
  cpSync,
  mkdirSync,
  readdirSync,
  readFileSync,
  realpathSync,
  rmSync,
  symlinkSync,
  writeFileSync,
} from 'node:fs';
import { basename, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { tempDir } from '@answerline/testing';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { commands } from './commands.mjs';

const root = fileURLToPath(new URL('..', import.meta.url));

/** Each lint run loads the types of what the files import. */
const lintTimeoutMs = 60_000;

// The real checks, as `npm run check` starts them, run on a copy of the tree into which bad files are put. The copy has
// links of its own to our packages, so that a planted import resolves inside it.
let copy: string;
beforeAll(async () => {
  copy = realpathSync(await tempDir());
  const skipped = new Set(['node_modules', 'dist']);
  for (const folder of ['apps', 'libs']) {
    cpSync(join(root, folder), join(copy, folder), {
      recursive: true,
      filter: (path) => !skipped.has(basename(path)),
    });
  }
  for (const file of ['package.json', 'tsconfig.json', '.dependency-cruiser.mjs', 'eslint.config.mjs']) {
    cpSync(join(root, file), join(copy, file));
  }
  mkdirSync(join(copy, 'node_modules'));
  for (const name of readdirSync(join(root, 'node_modules'))) {
    if (name !== '@answerline') symlinkSync(join(root, 'node_modules', name), join(copy, 'node_modules', name));
  }
  cpSync(join(root, 'node_modules/@answerline'), join(copy, 'node_modules/@answerline'), {
    recursive: true,
    verbatimSymlinks: true,
  });
});

/** Runs the step of `npm run check` whose program has `name` in its path, in the copy. */
function check(name: string, replaceArgs: (args: readonly string[]) => string[] = (args) => [...args]) {
  const step = commands.check?.([]).find(({ args }) => args[0]?.includes(name));
  const [program = '', ...args] = step?.args ?? [];
  const options = { cwd: copy, encoding: 'utf8', maxBuffer: 64 * 1024 * 1024 } as const;
  const { status, stdout, stderr } = spawnSync(process.execPath, [join(root, program), ...replaceArgs(args)], options);
  expect(stderr).toBe('');
  return { status, stdout };
}

function plant(files: Readonly<Record<string, string>>): () => void {
  for (const [path, text] of Object.entries(files)) writeFileSync(join(copy, path), text);
  return () => {
    for (const path of Object.keys(files)) rmSync(join(copy, path));
  };
}

describe('the boundaries', () => {
  /** `<file>: <rule>` of each violation, from the lines `error <rule>: <file> → <file>`. */
  function violations(): { status: number | null; found: string[] } {
    const { status, stdout } = check('dependency-cruiser');
    const lines = stdout.matchAll(/^\s*error ([\w-]+): (\S+)/gm);
    return { status, found: [...lines].map(([, rule, file]) => `${file}: ${rule}`) };
  }

  const imports = (name: string) => `import * as planted from '${name}';\nexport const used = planted;\n`;
  const bad = {
    'libs/features/rag/src/feature.planted.ts': ['feature-not-feature', '@answerline/feature-ingest'],
    'libs/adapters/whatsapp/src/adapter.planted.ts': ['adapter-not-adapter', '@answerline/messaging'],
    'libs/adapters/mail.planted.ts': ['adapter-not-up', '@answerline/feature-rag'],
    'libs/platform/errors/src/contracts.planted.ts': ['platform-is-bottom', '@answerline/contracts'],
    'libs/contracts/src/nest.planted.ts': ['contracts-is-pure', '@nestjs/common'],
    'libs/contracts/src/file.planted.ts': ['contracts-is-pure', 'node:fs'],
    'libs/conversation-rules/src/database.planted.ts': ['contracts-is-pure', '@answerline/persistence'],
    'libs/features/gateway/src/app.planted.ts': ['app-is-top', '@answerline/sandbox'],
    'libs/process-parts/src/feature.planted.ts': ['process-parts-not-features', '@answerline/feature-rag'],
    'libs/features/ingest/src/parts.planted.ts': ['process-parts-below-apps', '@answerline/process-parts'],
    'libs/features/ingest/src/nats.planted.ts': ['nats-in-messaging', '@nats-io/transport-node'],
    'libs/features/ingest/src/pg.planted.ts': ['postgres-in-persistence', 'pg'],
    'libs/features/rag/src/lance.planted.ts': ['lancedb-in-knowledge-index', '@lancedb/lancedb'],
    'libs/features/notifier/src/undici.planted.ts': ['undici-in-outbound-http', 'undici'],
    'libs/features/notifier/src/http.planted.ts': ['undici-in-outbound-http', 'node:http'],
    'apps/gateway/src/testing.planted.ts': ['testing-only-in-tests', '@answerline/testing'],
    'apps/gateway/src/app.planted.ts': ['app-not-app', '@answerline/sandbox'],
    'libs/features/rag/src/deep.planted.ts': ['public-face-only', '../../../adapters/whatsapp/src/text-table.ts'],
    'libs/features/rag/src/door.planted.ts': ['doors-are-leaves', './rag.worker.ts'],
    'libs/features/rag/src/nowhere.planted.ts': ['no-unresolvable', '@answerline/nowhere'],
    'libs/features/rag/src/circle.planted.ts': ['no-circular', './circle.planted.ts'],
  } as const;

  it('are kept by the tree as it is', () => {
    expect(violations()).toEqual({ status: 0, found: [] });
  });

  it('turn the check red for each planted import, and for nothing else', () => {
    const uproot = plant(Object.fromEntries(Object.entries(bad).map(([path, [, name]]) => [path, imports(name)])));
    const { status, found } = violations();
    uproot();
    expect(status).not.toBe(0);
    const expected = Object.entries(bad).map(([path, [rule]]) => `${path}: ${rule}`);
    expect(expected.filter((violation) => !found.includes(violation))).toEqual([]);
    expect(found.filter((violation) => !violation.includes('.planted.ts'))).toEqual([]);
  });
});

describe('the lint rules', () => {
  interface FileReport {
    readonly filePath: string;
    readonly messages: readonly { readonly ruleId: string | null }[];
  }

  /** The rules that each file breaks. */
  function lint(paths: readonly string[]): { status: number | null; found: Record<string, (string | null)[]> } {
    const { status, stdout } = check('eslint', (args) => [
      '--format=json',
      ...args.filter((arg) => arg !== '.'),
      ...paths,
    ]);
    const reports = JSON.parse(stdout) as FileReport[];
    const found = reports.map(({ filePath, messages }) => [
      filePath.slice(copy.length + 1),
      [...new Set(messages.map(({ ruleId }) => ruleId))],
    ]);
    return { status, found: Object.fromEntries(found) as Record<string, (string | null)[]> };
  }

  const bad = {
    'fetch.planted.ts': ['no-restricted-globals', `export const got = () => fetch('https://example.com');`],
    'global-fetch.planted.ts': [
      'no-restricted-properties',
      `export const got = () => globalThis.fetch('https://a.example');`,
    ],
    'undici.planted.ts': ['no-restricted-imports', `import { request } from 'undici';\nexport const got = request;`],
    'http.planted.ts': ['no-restricted-imports', `import { get } from 'node:https';\nexport const got = get;`],
    'env.planted.ts': ['no-restricted-syntax', `export const port = process.env.PORT;`],
    'env-by-key.planted.ts': ['no-restricted-syntax', `export const port = process['env']['PORT'];`],
    'global-env.planted.ts': ['no-restricted-syntax', `export const port = globalThis.process.env['PORT'];`],
    'taken-apart.planted.ts': ['no-restricted-syntax', `const { env } = process;\nexport const port = env['PORT'];`],
    'env-import.planted.ts': [
      'no-restricted-syntax',
      `import { env } from 'node:process';\nexport const port = env['PORT'];`,
    ],
    'floating.planted.ts': [
      '@typescript-eslint/no-floating-promises',
      `export function start(): void {\n  Promise.resolve(1);\n}`,
    ],
    'misused.planted.ts': [
      '@typescript-eslint/no-misused-promises',
      `export const wait = (work: () => Promise<void>) => setTimeout(work, 1);`,
    ],
    'console.planted.ts': ['no-console', `console.log('planted');\nexport {};`],
  } as const;
  const folder = 'libs/features/notifier/src';
  const allowed = [
    'libs/platform/outbound-http/src/exchange.ts',
    'libs/platform/config/src/load-config.ts',
    `${folder}/notifier.worker.ts`,
  ];

  it(
    'turn the check red for each planted line, and let stand what may call out and read the environment',
    () => {
      const planted = Object.fromEntries(
        Object.entries(bad).map(([name, [, text]]) => [`${folder}/${name}`, `${text}\n`]),
      );
      const uproot = plant(planted);
      const { status, found } = lint([...Object.keys(planted), ...allowed]);
      uproot();
      expect(status).not.toBe(0);
      expect(found).toEqual({
        ...Object.fromEntries(Object.entries(bad).map(([name, [rule]]) => [`${folder}/${name}`, [rule]])),
        ...Object.fromEntries(allowed.map((path) => [path, []])),
      });
      expect(readFileSync(join(copy, allowed[0] ?? ''), 'utf8')).toContain('undici');
      expect(readFileSync(join(copy, allowed[1] ?? ''), 'utf8')).toContain('process.env');
    },
    lintTimeoutMs,
  );

  it(
    'let the same file stand without the planted line',
    () => {
      const uproot = plant({ [`${folder}/clean.planted.ts`]: 'export const port = 3000;\n' });
      expect(lint([`${folder}/clean.planted.ts`])).toEqual({
        status: 0,
        found: { [`${folder}/clean.planted.ts`]: [] },
      });
      uproot();
    },
    lintTimeoutMs,
  );
});

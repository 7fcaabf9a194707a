import { existsSync, globSync, readFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { describe, expect, it } from '@jest/globals';

const root = fileURLToPath(new URL('..', import.meta.url));
const documents = globSync('{*.md,docs/**/*.md,apps/*/*.md,libs/**/*.md}', {
  cwd: root,
  exclude: (path) => /(^|\/)(node_modules|dist)(\/|$)/.test(path),
});
const { scripts } = JSON.parse(readFileSync(join(root, 'package.json'), 'utf8')) as { scripts: Record<string, string> };

/** The links of a document that lead nowhere. */
function brokenLinks(path: string, text: string): string[] {
  const links = [...text.matchAll(/\]\((?!https?:)([^)#]+)(?:#[^)]*)?\)/g)].map(([, link = '']) => link);
  return links.filter((link) => !existsSync(join(root, dirname(path), link)));
}

/** The npm scripts that a document names and that do not exist. */
function unknownScripts(text: string): string[] {
  const names = [...text.matchAll(/npm run ([a-z][a-z:-]*)/g)].map(([, name = '']) => name);
  return names.filter((name) => !Object.hasOwn(scripts, name));
}

describe('the documents', () => {
  it.each(documents)('%s links to what there is, and names commands that exist', (path) => {
    const text = readFileSync(join(root, path), 'utf8');
    expect(brokenLinks(path, text)).toEqual([]);
    expect(unknownScripts(text)).toEqual([]);
  });

  it('are found out when they do not', () => {
    const text = 'See [this](nowhere.md#part), [that](https://example.com) and run `npm run nothing`.';
    expect(brokenLinks('README.md', text)).toEqual(['nowhere.md']);
    expect(unknownScripts(text)).toEqual(['nothing']);
  });

  it('has a README for each package', () => {
    const packages = globSync('{apps/*,libs/*,libs/*/*}/package.json', { cwd: root }).map((path) => dirname(path));
    expect(packages.filter((folder) => !documents.includes(`${folder}/README.md`))).toEqual([]);
  });
});

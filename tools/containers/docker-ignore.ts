import { readdirSync } from 'node:fs';
import { join } from 'node:path';

/**
 * The files of `folder` that a .dockerignore lets into a build, as paths from there: of the rules that match a path or a
 * folder above it the last one counts, and one with `!` lets in.
 */
export function filesOfContext(folder: string, dockerIgnore: string): string[] {
  const rules = dockerIgnore
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '' && !line.startsWith('#'))
    .map((line) => {
      const pattern = line.replace(/^!/, '');
      return { letsIn: line.startsWith('!'), pattern, matcher: matcherOf(pattern) };
    });
  const isOut = (path: string): boolean => {
    const above = path.split('/').map((_, index, parts) => parts.slice(0, index + 1).join('/'));
    const rule = rules.findLast(({ matcher }) => above.some((each) => matcher.test(each)));
    return rule !== undefined && !rule.letsIn;
  };
  const mayHoldSome = (path: string): boolean =>
    rules.some(({ letsIn, pattern }) => letsIn && (pattern.startsWith(`${path}/`) || pattern.includes('**')));

  const found: string[] = [];
  const walk = (path: string): void => {
    for (const entry of readdirSync(join(folder, path), { withFileTypes: true })) {
      const inner = path === '' ? entry.name : `${path}/${entry.name}`;
      if (entry.isDirectory()) {
        if (!isOut(inner) || mayHoldSome(inner)) walk(inner);
      } else if (!isOut(inner)) {
        found.push(inner);
      }
    }
  };
  walk('');
  return found.toSorted();
}

/** A pattern as Docker means it: `*` stays within a name, also one that begins with a dot; `**` goes over folders. */
function matcherOf(pattern: string): RegExp {
  if (/[[\]\\?]|^\/|\/$/.test(pattern)) throw new Error(`A rule of .dockerignore is not understood: ${pattern}`);
  const parts = pattern.split(/(\*\*\/|\*\*|\*)/).map((part) => {
    if (part === '**/') return '(?:.*/)?';
    if (part === '**') return '.*';
    return part === '*' ? '[^/]*' : part.replace(/[.+^${}()|]/g, '\\$&');
  });
  return new RegExp(`^${parts.join('')}$`);
}

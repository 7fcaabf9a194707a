import { readFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { renderEnvExample } from '@answerline/config';
import { format, resolveConfig } from 'prettier';
import { renderEventsDocument } from './events-document.ts';
import { filesOfProtos } from './generated-protos.ts';

const root = fileURLToPath(new URL('..', import.meta.url));

/** A file of the repository that is made from code. */
export interface GeneratedFile {
  /** From the root of the project. */
  readonly path: string;
  readonly text: string;
}

/** Every generated file as it should be. The same code gives the same bytes. */
export async function generatedFiles(): Promise<GeneratedFile[]> {
  return [
    { path: '.env.example', text: renderEnvExample() },
    { path: 'docs/events.md', text: await prettified('docs/events.md', renderEventsDocument()) },
    ...(await filesOfProtos()),
  ];
}

/** The paths of those that are missing or differ in the folder `base`. */
export function outdated(files: readonly GeneratedFile[], base = root): string[] {
  return files.filter(({ path, text }) => textOf(join(base, path)) !== text).map(({ path }) => path);
}

async function prettified(path: string, text: string): Promise<string> {
  const filepath = join(root, path);
  return format(text, { ...(await resolveConfig(filepath)), filepath });
}

function textOf(path: string): string | undefined {
  try {
    return readFileSync(path, 'utf8');
  } catch {
    return undefined;
  }
}

// Writes the files that are made from code. With --check it writes nothing and exits 1 when one differs.
import { mkdirSync, writeFileSync } from 'node:fs';
import { dirname, join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { parseArgs } from 'node:util';
import { generatedFiles, outdated } from './generated-files.ts';

const root = fileURLToPath(new URL('..', import.meta.url));
const { values } = parseArgs({ options: { check: { type: 'boolean', default: false } } });

const files = await generatedFiles();
const stale = outdated(files);
if (values.check) {
  for (const path of stale) process.stderr.write(`${path} is not what the code makes. Run: npm run generate\n`);
  process.exitCode = stale.length > 0 ? 1 : 0;
} else {
  for (const { path, text } of files.filter((file) => stale.includes(file.path))) {
    mkdirSync(dirname(join(root, path)), { recursive: true });
    writeFileSync(join(root, path), text);
  }
  process.stdout.write(stale.length > 0 ? `Written: ${stale.join(', ')}\n` : 'Everything is up to date.\n');
}

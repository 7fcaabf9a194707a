import { renameSync, writeFileSync } from 'node:fs';

/** Writes a file that only its owner may read. A process that is killed meanwhile leaves the old one, never half of the new one. */
export function writePrivateFile(file: string, text: string): void {
  const draft = `${file}.new`;
  writeFileSync(draft, text, { mode: 0o600 });
  renameSync(draft, file);
}

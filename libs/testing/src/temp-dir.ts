import { mkdtemp } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';

/** A new empty folder. The test run deletes it at its end, and stops every service that still runs in it. */
export function tempDir(): Promise<string> {
  return mkdtemp(join(process.env.TEST_RUN_DIR ?? tmpdir(), 'spec-'));
}

import { mkdtempSync, mkdirSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { dirname, join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { generatedFiles, outdated } from './generated-files.ts';
import { lintOfProtos } from './generated-protos.ts';

describe('the generated files', () => {
  it('are what the code makes; if not: npm run generate', async () => {
    expect(outdated(await generatedFiles())).toEqual([]);
  });

  it('are the same each time they are made', async () => {
    expect(await generatedFiles()).toEqual(await generatedFiles());
  });

  describe('in another folder', () => {
    let folder: string;
    beforeEach(() => {
      folder = mkdtempSync(join(tmpdir(), 'generated-'));
    });
    afterEach(() => rmSync(folder, { recursive: true }));

    it('are outdated when they are missing or differ in one character', async () => {
      const files = await generatedFiles();
      const [first, ...others] = files;
      expect(outdated(files, folder)).toEqual(files.map(({ path }) => path));
      for (const { path, text } of files) {
        mkdirSync(dirname(join(folder, path)), { recursive: true });
        writeFileSync(join(folder, path), text);
      }
      expect(outdated(files, folder)).toEqual([]);
      writeFileSync(join(folder, first?.path ?? ''), `${first?.text ?? ''} `);
      expect(outdated(files, folder)).toEqual([first?.path]);
      expect(others.length).toBeGreaterThan(0);
    });
  });
});

describe('the protos', () => {
  it("keep buf's rules", async () => {
    expect(await lintOfProtos()).toBe('');
  });
});

import { readFile, rename, writeFile } from 'node:fs/promises';
import { ConfigError } from '@answerline/config';
import type { Accounts, AccountsSnapshot } from './accounts.ts';

/** The file that keeps the accounts, so that what was set up at Meta is there at the next start, as it is at Meta. */
export class AccountsFile {
  private writing: Promise<void> = Promise.resolve();

  private constructor(
    private readonly path: string,
    private readonly accounts: Accounts,
  ) {}

  /** Opens the file and puts what it holds into `accounts`. @throws ConfigError when it is damaged */
  static async open(path: string, accounts: Accounts): Promise<AccountsFile> {
    const json = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return undefined;
      throw error;
    });
    if (json !== undefined) {
      try {
        accounts.restore(JSON.parse(json) as AccountsSnapshot);
      } catch {
        throw new ConfigError([`${path} cannot be read. Move the file away and start again`]);
      }
    }
    return new AccountsFile(path, accounts);
  }

  /** Writes everything anew; resolves when the accounts as they are now are in the file. */
  save(): Promise<void> {
    const saved = this.writing.then(async () => {
      const next = `${this.path}.next`;
      await writeFile(next, JSON.stringify(this.accounts.snapshot()), { mode: 0o600 });
      await rename(next, this.path);
    });
    this.writing = saved.catch(() => undefined);
    return saved;
  }

  async close(): Promise<void> {
    await this.writing;
  }
}

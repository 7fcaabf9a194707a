import { open, readFile, type FileHandle } from 'node:fs/promises';
import { ConfigError } from '@answerline/config';

interface Batch {
  readonly lines: string[];
  readonly written: Promise<void>;
  readonly resolve: () => void;
  readonly reject: (error: unknown) => void;
}

/**
 * A JSON Lines file of its own that is only added to, kept in memory as well. Lines that arrive while one write is
 * under way go out together with the next one. Nothing is fsynced: the file outlives the process, not the machine.
 */
export class AppendLog<Fields extends object> {
  readonly entries: (Fields & { readonly n: number })[];
  private next: Batch | undefined;
  private writing: Promise<void> = Promise.resolve();
  private isWriting = false;

  private constructor(
    private readonly file: FileHandle,
    entries: (Fields & { n: number })[],
  ) {
    this.entries = entries;
  }

  /** Opens the file, made when it is missing. A last line that a killed process left half written is cut off. */
  static async open<Fields extends object>(path: string): Promise<AppendLog<Fields>> {
    const text = await readFile(path, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code === 'ENOENT') return '';
      throw error;
    });
    const whole = text.slice(0, text.lastIndexOf('\n') + 1);
    const entries = whole
      .split('\n')
      .filter((line) => line !== '')
      .map((line, index) => parseLine(path, line, index + 1) as Fields & { n: number });
    const file = await open(path, 'a', 0o600);
    if (whole.length < text.length) await file.truncate(Buffer.byteLength(whole));
    return new AppendLog(file, entries);
  }

  /** Number of the newest entry, 0 when there is none. */
  get last(): number {
    return this.entries.at(-1)?.n ?? 0;
  }

  /** Numbers and stores an entry; resolves when its line is in the file. */
  append(fields: Fields): Promise<void> {
    const entry = { n: this.last + 1, ...fields };
    this.entries.push(entry);
    this.next ??= createBatch();
    this.next.lines.push(JSON.stringify(entry));
    const { written } = this.next;
    if (!this.isWriting) this.writing = this.writeBatches();
    return written;
  }

  /** Entries numbered above `after`, oldest first. */
  after(after: number): readonly (Fields & { readonly n: number })[] {
    const first = this.entries[0]?.n ?? 1;
    return this.entries.slice(Math.max(0, after + 1 - first));
  }

  /** Forgets every entry, in the file too. Numbers start at 1 again. */
  async clear(): Promise<void> {
    await this.writing;
    this.entries.length = 0;
    await this.file.truncate(0);
  }

  async close(): Promise<void> {
    await this.writing;
    await this.file.close();
  }

  private async writeBatches(): Promise<void> {
    this.isWriting = true;
    while (this.next) {
      const batch = this.next;
      this.next = undefined;
      try {
        await this.file.appendFile(`${batch.lines.join('\n')}\n`);
        batch.resolve();
      } catch (error) {
        batch.reject(error);
      }
    }
    this.isWriting = false;
  }
}

function parseLine(path: string, line: string, lineNumber: number): unknown {
  try {
    return JSON.parse(line);
  } catch {
    throw new ConfigError([`${path}: line ${lineNumber} is not JSON. Move the file away and start again`]);
  }
}

function createBatch(): Batch {
  let resolve!: () => void;
  let reject!: (error: unknown) => void;
  const written = new Promise<void>((onWritten, onFailed) => {
    resolve = onWritten;
    reject = onFailed;
  });
  return { lines: [], written, resolve, reject };
}

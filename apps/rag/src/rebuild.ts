import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { ConfigError, loadConfig, readEnvironment } from '@answerline/config';
import { AppError, InvalidInput, Unexpected } from '@answerline/errors';
import { RebuildIndex, type RebuildProgress } from '@answerline/feature-rag';
import { errorFields } from '@answerline/logging';
import { Database } from '@answerline/persistence';

const usage = `Fills the search index anew from Postgres, beside the one that is searched, while the product runs. It works on
DATABASE_URL, and on the Postgres of the standalone that runs on DATA_DIR where that is not set.

  npm run index:rebuild                      of all chatbots
  npm run index:rebuild -- --chatbot <id>    of one

Ctrl-C ends only this command, not the builds.
`;

const appName = 'index:rebuild';
const LOOK_EVERY_MS = 500;
const SAY_EVERY_MS = 5_000;
/** A rag that runs takes a build up within a second, or is busy with another one. */
const TAKEN_UP_WITHIN_MS = 30_000;

/**
 * Runs the command line `args`, writes to the terminal and returns the exit code: 0 when everything is rebuilt, 1 when nobody does it
 * or the command was wrong. `embeddedUrl` finds the Postgres that runs on a data folder.
 */
export async function rebuild(
  args: readonly string[],
  embeddedUrl: (dataDir: string) => string | undefined = () => undefined,
): Promise<number> {
  try {
    const { help, chatbot } = optionsOf(args);
    if (help) {
      process.stdout.write(usage);
      return 0;
    }
    return await withDatabase(embeddedUrl, async (database) => {
      const rebuildIndex = new RebuildIndex(database);
      const ids = await rebuildIndex.request(chatbot);
      if (ids.length > 0) return follow(rebuildIndex, ids);
      say('Nothing is indexed yet, so there is nothing to rebuild.');
      return 0;
    });
  } catch (error) {
    for (const line of plainLines(error)) process.stderr.write(`${appName}: ${line}\n`);
    return 1;
  }
}

function optionsOf(args: readonly string[]): { help?: boolean; chatbot?: string } {
  try {
    const options = { chatbot: { type: 'string' }, help: { type: 'boolean', short: 'h' } } as const;
    return parseArgs({ args: [...args], options }).values;
  } catch (error) {
    const what = error instanceof Error ? (error.message.split('. ')[0] ?? '') : '';
    throw new InvalidInput('wrong_use', `${what}. npm run index:rebuild -- --help shows what there is.`);
  }
}

/** Says how the builds go, until they are done or nobody works on them. */
async function follow(rebuildIndex: RebuildIndex, ids: readonly string[]): Promise<number> {
  let [said, saidAt] = ['', 0];
  let workedOnAt = Date.now();
  for (;;) {
    const progress = await rebuildIndex.progress(ids);
    const now = Date.now();
    if (progress.isWorkedOn || progress.nextTryAt !== null) workedOnAt = now;
    const line = inWords(progress, ids.length);
    if (line !== said && (now - saidAt >= SAY_EVERY_MS || progress.waiting === 0)) {
      say(line);
      [said, saidAt] = [line, now];
    }
    if (progress.waiting === 0) return 0;
    if (now - workedOnAt >= TAKEN_UP_WITHIN_MS) {
      say('No rag takes this up. Start the product, or a rag with the model and index it had: it will build then.');
      return 1;
    }
    await delay(LOOK_EVERY_MS);
  }
}

function inWords({ done, passagesDone, passagesTotal, errorCodes, nextTryAt }: RebuildProgress, all: number): string {
  const parts = [`${String(done)} of ${String(all)} chatbots`];
  if (passagesTotal > 0) parts.push(`${String(passagesDone)} of ${String(passagesTotal)} passages of the next`);
  if (errorCodes.length > 0) parts.push(errorCodes.join(', '));
  if (nextTryAt !== null) parts.push(`next try at ${nextTryAt.toISOString()}`);
  return parts.join(' · ');
}

async function withDatabase(
  embeddedUrl: (dataDir: string) => string | undefined,
  work: (database: Database) => Promise<number>,
): Promise<number> {
  const { DATABASE_URL, DATA_DIR } = loadConfig(['DATABASE_URL', 'DATA_DIR'], readEnvironment());
  const url = DATABASE_URL ?? embeddedUrl(DATA_DIR);
  if (url === undefined) {
    const message = `No embedded Postgres runs in ${DATA_DIR}. Start the product, or set DATA_DIR or DATABASE_URL.`;
    throw new InvalidInput('nothing_runs_here', message);
  }
  const database = await Database.connect({ url, poolSize: 2, applicationName: 'answerline-index-rebuild' });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

function plainLines(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems;
  if (error instanceof AppError && !(error instanceof Unexpected)) return [`${error.message} (${error.code})`];
  return [errorFields(error).message];
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

import 'reflect-metadata';
import { parseArgs } from 'node:util';
import { ConfigError, loadConfig, readEnvironment } from '@answerline/config';
import { changePlanSchema, createWorkspaceSchema } from '@answerline/contracts';
import { AppError, InvalidInput, Unexpected } from '@answerline/errors';
import { ChangePlan, CreateWorkspace, RotateKeys } from '@answerline/feature-gateway';
import { createLogger, errorFields } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database, findStuckWork } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';

/** Where the parts are whose setting is not set; undefined when none runs. An installation of single processes has none. */
export interface EmbeddedParts {
  databaseUrl(dataDir: string): string | undefined;
  nats(dataDir: string): { readonly url: string; readonly token: string } | undefined;
  /** The ENCRYPTION_KEYS that were made up. */
  encryptionKeys(dataDir: string): string | undefined;
}

const usage = `What the operator of an installation can do. It works on DATABASE_URL and NATS_URL, and on the embedded
parts of the standalone that runs on DATA_DIR where they are not set.

  dead-letters list [--limit 100]   messages that a consumer gave up: ids and codes, oldest first
  dead-letters replay <sequence>    puts one back into its stream
  dead-letters replay all           puts back all that are there now
  stuck [--minutes 5]               turns, sends, channels, sources, mails and events that do not move on
  workspaces create --name <name> [--plan scale] [--time-zone Europe/Madrid] [--owner-email owner@example.com]
                                    makes a workspace and prints its first API key, once
  set-plan <workspace> <plan>       changes a plan; without WhatsApp in it the channels are suspended, with it they resume
  rotate-keys                       seals all stored secrets with the first key of ENCRYPTION_KEYS; again is safe
`;

const DEAD_LETTERS_PAGE = 100;
const CONNECT_TIMEOUT_MS = 5_000;
const appName = 'operator';

/** Which words lead to what, and the options that each takes. */
const verbs = {
  'dead-letters list': { options: { limit: { type: 'string' } }, run: listDeadLetters },
  'dead-letters replay': { options: {}, run: replayDeadLetters },
  stuck: { options: { minutes: { type: 'string' } }, run: showStuckWork },
  'workspaces create': {
    options: {
      name: { type: 'string' },
      plan: { type: 'string' },
      'time-zone': { type: 'string' },
      'owner-email': { type: 'string' },
    },
    run: createWorkspace,
  },
  'set-plan': { options: {}, run: setPlan },
  'rotate-keys': { options: {}, run: rotateKeys },
} as const;

interface Words {
  readonly values: Readonly<Record<string, string | undefined>>;
  /** What stands behind the verb. */
  readonly rest: readonly string[];
}

/** What a verb works with. */
interface Order extends Words {
  readonly embedded: EmbeddedParts | undefined;
}

/**
 * Does what the words of the command line say, and prints what came of it: results on stdout, what went wrong in plain lines on
 * stderr.
 * @returns the exit code
 */
export async function operate(args: readonly string[], embedded?: EmbeddedParts): Promise<number> {
  return obey(args, embedded).catch((error: unknown) => {
    for (const line of plainLines(error)) process.stderr.write(`${appName}: ${line}\n`);
    return 1;
  });
}

async function obey(args: readonly string[], embedded: EmbeddedParts | undefined): Promise<number> {
  if (args.length === 0 || args.includes('--help') || args.includes('-h')) {
    process.stdout.write(usage);
    return args.length === 0 ? 1 : 0;
  }
  const verb = (Object.keys(verbs) as (keyof typeof verbs)[]).find((words) =>
    `${args.join(' ')} `.startsWith(`${words} `),
  );
  if (verb === undefined) throw wrongUse('There is no such command.');
  const { options, run } = verbs[verb];
  return run({ ...words(args.slice(verb.split(' ').length), options), embedded });
}

function words(args: readonly string[], options: Readonly<Record<string, { readonly type: 'string' }>>): Words {
  try {
    const { values, positionals } = parseArgs({ args: [...args], options, allowPositionals: true, strict: true });
    return { values, rest: positionals };
  } catch (error) {
    throw wrongUse(`${error instanceof Error ? (error.message.split('. ')[0] ?? '') : ''}.`);
  }
}

// Dead letters

async function listDeadLetters({ values, rest, embedded }: Order): Promise<number> {
  refuseMore(rest);
  const limit = wholeNumber('--limit', values['limit'] ?? String(DEAD_LETTERS_PAGE));
  return withBus(embedded, async (bus) => {
    const found = await bus.listDeadLetters({ limit });
    const rows = found.map(({ sequence, deadLetter }) => [
      String(sequence),
      deadLetter.occurredAt,
      `${deadLetter.stream}/${deadLetter.consumer} ${String(deadLetter.streamSequence)}`,
      deadLetter.errorCode,
      String(deadLetter.attempts),
      deadLetter.workspaceId ?? '-',
    ]);
    print(['sequence', 'given up', 'message', 'code', 'tries', 'workspace'], rows, 'There are no dead letters.');
    return 0;
  });
}

async function replayDeadLetters({ rest, embedded }: Order): Promise<number> {
  const [which, ...more] = rest;
  refuseMore(more);
  if (which === undefined) throw wrongUse('Say which: a sequence from the list, or all.');
  return withBus(embedded, async (bus) => {
    // Read before the first goes back: what fails again comes back as a new dead letter, and must not be replayed for ever.
    const sequences = which === 'all' ? await allSequences(bus) : [wholeNumber('The sequence', which)];
    let failed = 0;
    for (const sequence of sequences) {
      try {
        await bus.putBack(sequence);
      } catch (error) {
        if (!(error instanceof InvalidInput)) throw error;
        failed += 1;
        process.stderr.write(`${appName}: ${String(sequence)}: ${error.message} (${error.code})\n`);
      }
    }
    process.stdout.write(`Put back: ${String(sequences.length - failed)} of ${String(sequences.length)}\n`);
    return failed > 0 ? 1 : 0;
  });
}

async function allSequences(bus: MessageBus): Promise<number[]> {
  const sequences: number[] = [];
  for (;;) {
    const page = await bus.listDeadLetters({ limit: DEAD_LETTERS_PAGE, afterSequence: sequences.at(-1) ?? 0 });
    if (page.length === 0) return sequences;
    sequences.push(...page.map(({ sequence }) => sequence));
  }
}

// Stuck work

async function showStuckWork({ values, rest, embedded }: Order): Promise<number> {
  refuseMore(rest);
  const minutes = wholeNumber('--minutes', values['minutes'] ?? '5');
  return withDatabase(embedded, async (database) => {
    const found = await findStuckWork(database, { olderThanMs: minutes * 60_000 });
    const rows = found.map(({ kind, id, workspaceId, state, since }) => [
      kind,
      id ?? '-',
      state,
      since.toISOString(),
      workspaceId,
    ]);
    print(['what', 'id', 'state', 'since', 'workspace'], rows, 'Nothing is stuck.');
    return 0;
  });
}

// Workspaces

async function createWorkspace({ values, rest, embedded }: Order): Promise<number> {
  refuseMore(rest);
  const { name, plan, 'time-zone': timeZone, 'owner-email': ownerEmail } = values;
  const input = createWorkspaceSchema.safeParse({ name, plan, timeZone, ownerEmail });
  if (!input.success) {
    const [issue] = input.error.issues;
    const option = issue?.path.join('.').replace('timeZone', 'time-zone').replace('ownerEmail', 'owner-email') ?? '';
    throw wrongUse(`--${option} is wrong or missing: ${issue?.message ?? ''}.`);
  }
  const { DEFAULT_PLAN: defaultPlan } = loadConfig(['DEFAULT_PLAN'], readEnvironment());
  return withDatabase(embedded, async (database) => {
    const { workspace, apiKey } = await new CreateWorkspace(database, { defaultPlan }).execute(input.data);
    process.stdout.write(
      `Workspace ${workspace.id} (plan ${workspace.plan})\nAPI key   ${apiKey}\nThe key is not shown again.\n`,
    );
    return 0;
  });
}

async function setPlan({ rest, embedded }: Order): Promise<number> {
  const [workspaceId = '', plan, ...more] = rest;
  refuseMore(more);
  if (!/^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i.test(workspaceId))
    throw wrongUse('Say which workspace, by its id.');
  const input = changePlanSchema.safeParse({ plan });
  if (!input.success) throw wrongUse(`The plan is wrong or missing: ${input.error.issues[0]?.message ?? ''}.`);
  return withDatabase(embedded, async (database) => {
    const { workspace, suspendedChannels, resumedChannels } = await new ChangePlan(database).execute(
      workspaceId,
      input.data.plan,
    );
    process.stdout.write(
      `Workspace ${workspace.id} (plan ${workspace.plan})\n` +
        `Channels suspended: ${String(suspendedChannels.length)}, resumed: ${String(resumedChannels.length)}\n`,
    );
    return 0;
  });
}

// Keys

async function rotateKeys({ rest, embedded }: Order): Promise<number> {
  refuseMore(rest);
  const env = readEnvironment();
  const { DATA_DIR } = loadConfig(['DATA_DIR'], env);
  const isGiven = Boolean(env['ENCRYPTION_KEYS'] || env['ENCRYPTION_KEYS_FILE']);
  const ring = isGiven ? {} : { ENCRYPTION_KEYS: embedded?.encryptionKeys(DATA_DIR) };
  const { ENCRYPTION_KEYS } = loadConfig(['ENCRYPTION_KEYS'], { ...env, ...ring }, { required: ['ENCRYPTION_KEYS'] });
  return withDatabase(embedded, async (database) => {
    const { keyId, resealed, left, marks } = await new RotateKeys(
      database,
      new SecretBox(ENCRYPTION_KEYS.reveal()),
    ).execute();
    process.stdout.write(`Sealed anew with ${keyId}: ${String(resealed)}\nLeft with another key: ${String(left)}\n`);
    for (const { keyId: old, count, neededUntil } of marks) {
      const until = neededUntil.toISOString();
      process.stdout.write(
        `Keep ${old} until ${until}: ${String(count)} marks of deleted contacts were made with it\n`,
      );
    }
    if (left === 0) return 0;
    process.stderr.write(`${appName}: What is left does not open: the key that sealed it is not in ENCRYPTION_KEYS.\n`);
    return 1;
  });
}

// Connections

async function withDatabase(
  embedded: EmbeddedParts | undefined,
  work: (database: Database) => Promise<number>,
): Promise<number> {
  const { DATABASE_URL, DATA_DIR } = loadConfig(['DATABASE_URL', 'DATA_DIR'], readEnvironment(), {
    required: embedded ? [] : ['DATABASE_URL'],
  });
  const url = DATABASE_URL ?? embedded?.databaseUrl(DATA_DIR);
  if (url === undefined) throw notRunning('Postgres', 'DATABASE_URL', DATA_DIR);
  const database = await Database.connect({ url, poolSize: 2, applicationName: `answerline-${appName}` });
  try {
    return await work(database);
  } finally {
    await database.close();
  }
}

async function withBus(
  embedded: EmbeddedParts | undefined,
  work: (bus: MessageBus) => Promise<number>,
): Promise<number> {
  const { NATS_URL, DATA_DIR } = loadConfig(['NATS_URL', 'DATA_DIR'], readEnvironment(), {
    required: embedded ? [] : ['NATS_URL'],
  });
  const where = NATS_URL === undefined ? embedded?.nats(DATA_DIR) : { url: NATS_URL };
  if (where === undefined) throw notRunning('NATS', 'NATS_URL', DATA_DIR);
  const bus = await MessageBus.connect({
    ...where,
    name: `answerline-${appName}`,
    logger: createLogger({ app: appName, level: 'silent' }),
    profile: 'standalone',
    connectTimeoutMs: CONNECT_TIMEOUT_MS,
  });
  try {
    return await work(bus);
  } finally {
    await bus.close();
  }
}

// Words

function notRunning(service: string, setting: string, dataDir: string): InvalidInput {
  return new InvalidInput(
    'nothing_runs_here',
    `No embedded ${service} runs in ${dataDir}. Start the product, or set DATA_DIR or ${setting}.`,
  );
}

function wrongUse(what: string): InvalidInput {
  return new InvalidInput('wrong_use', `${what} --help shows what there is.`);
}

function refuseMore(rest: readonly string[]): void {
  if (rest.length > 0) throw wrongUse(`Too many words, from "${rest[0] ?? ''}" on.`);
}

function wholeNumber(what: string, text: string): number {
  if (!/^[1-9]\d{0,8}$/.test(text)) throw wrongUse(`${what} is a whole number from 1 on, not "${text}".`);
  return Number(text);
}

function plainLines(error: unknown): readonly string[] {
  if (error instanceof ConfigError) return error.problems;
  if (error instanceof AppError && !(error instanceof Unexpected)) return [`${error.message} (${error.code})`];
  return [errorFields(error).message];
}

/** A table for the terminal, its columns as wide as what stands in them. */
function print(head: readonly string[], rows: readonly (readonly string[])[], none: string): void {
  if (rows.length === 0) {
    process.stdout.write(`${none}\n`);
    return;
  }
  const widths = head.map((title, column) => Math.max(title.length, ...rows.map((row) => row[column]?.length ?? 0)));
  for (const row of [head, ...rows]) {
    process.stdout.write(
      `${row
        .map((cell, column) => cell.padEnd(widths[column] ?? 0))
        .join('  ')
        .trimEnd()}\n`,
    );
  }
}

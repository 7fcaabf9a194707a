// Posts webhook bodies to the running product as Meta would, and checks that every message in them is stored once:
//   npm run check:webhooks -- <folder> [--as-demo] [--oddities] [--demo <file>]
// Each body is posted, waited for in the webhook log, and posted again. What has to be stored comes from a walk of the JSON
// that shares no code with the product, and is compared with the rows in Postgres.
import { createHash, randomInt } from 'node:crypto';
import { readdirSync, readFileSync } from 'node:fs';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { parseArgs } from 'node:util';
import { asDemo } from './check-webhooks/as-demo.ts';
import { oddities } from './check-webhooks/oddities.ts';
import { CannotCheck, Product, type ExpectedMessage, type LogEntry } from './check-webhooks/product.ts';
import { walkBody, type FoundInBody, type FoundMessage } from './check-webhooks/walk-body.ts';

const usage = `npm run check:webhooks -- <folder> [--as-demo] [--oddities] [--demo <file>]

  <folder>      every *.json in it is one body; may be left out with --oddities
  --as-demo     as if sent to the demo's number, with message ids of its own in every file
  --oddities    also bodies of the tool's own: empty, without type or id, 1,000 updates, 2.9 MB, …
  --demo        demo.json of the running product; else the one in DATA_DIR (.answerline)`;

/** Meta delivers several at the same time. */
const atOnce = 8;
/** For all bodies of one round; the slowest one takes about a second. */
const verdictWithinMs = 120_000;
const pollMs = 50;

interface Body {
  readonly name: string;
  readonly bytes: Buffer;
  readonly found: FoundInBody;
}

/** What one delivery of a body came to. */
interface Delivered {
  readonly body: Body;
  readonly status: number | string;
  readonly entry: LogEntry | undefined;
  /** An earlier run sent these very bytes, so JetStream may drop them: `entry` is of that time. */
  readonly isOld: boolean;
  /** Why ingest gave it up. */
  readonly deadLetter: string | undefined;
}

async function main(): Promise<number> {
  const { folder, options } = readArguments();
  const demoFile = resolve(home(), options.demo ?? join(process.env.DATA_DIR || '.answerline', 'demo.json'));
  const product = await Product.open(demoFile);
  try {
    const bodies = readBodies(folder, options, product.demo.phoneNumberId);
    if (bodies.length === 0) throw new CannotCheck(`There is no *.json file in ${folder ?? ''}.`);
    return await check(product, bodies);
  } finally {
    await product.close();
  }
}

async function check(product: Product, bodies: readonly Body[]): Promise<number> {
  const expected = expectedOf(bodies, product.demo.phoneNumberId);
  const deadBefore = (await product.deadLetters()).length;
  const before = await product.compare(expected);

  const first = await deliver(product, bodies);
  for (const line of first.map(lineOf)) console.log(line);
  const afterFirst = await product.compare(expected);
  const again = await deliver(
    product,
    bodies.map((body) => ({ ...body, bytes: respaced(body.bytes) })),
  );
  const afterAgain = await product.compare(expected);
  const dead = (await product.deadLetters()).slice(deadBefore);

  const sum = (count: (found: FoundInBody) => number) => bodies.reduce((total, { found }) => total + count(found), 0);
  const messages = sum((found) => found.messages.length);
  const echoes = sum((found) => found.echoes.length);
  const statuses = sum((found) => found.statuses);
  const others = sum((found) => found.others);
  print('Bodies', bodies.length);
  print('Answered 200', first.filter(isOk).length);
  print('Verdicts', first.filter(({ entry }) => entry).length, tally(first));
  print(
    'Items found',
    messages + echoes + statuses + others,
    `${messages} messages, ${echoes} echoes, ${statuses} statuses, ${others} other changes`,
  );
  for (const { name, found, isEcho } of [
    { name: 'Messages', found: messages, isEcho: false },
    { name: 'Echoes', found: echoes, isEcho: true },
  ]) {
    const mine = expected.filter((one) => one.isEcho === isEcho);
    const of = (set: ReadonlySet<unknown>) => mine.filter(({ message }) => set.has(message)).length;
    const stored = of(afterFirst.stored);
    print(`${name} found`, found, `${mine.length} different ones for the number of the demo`);
    print(
      `${name} stored`,
      stored,
      `${stored - of(before.stored)} new; ${of(afterFirst.exact)} with type and raw JSON`,
    );
  }
  print('Repeats', repeats(first));
  const isNew = afterAgain.stored.size - afterFirst.stored.size;
  print('Sent again', again.filter(isOk).length, `answered 200: ${repeats(again)} repeats, ${isNew} new`);
  print('Dead letters', dead.length);

  const problems = new Set([
    ...[...first, ...again].flatMap(problemsOf),
    ...afterFirst.problems,
    ...afterAgain.problems,
    ...(isNew > 0 ? ['Sending again stored what the first time did not'] : []),
    ...(dead.length > 0 ? [`${dead.length} new dead letters`] : []),
  ]);
  for (const problem of problems) console.log(`MISSING  ${problem}`);
  console.log(problems.size === 0 ? 'Nothing is missing.' : `Something is missing: ${problems.size} lines above.`);
  return problems.size === 0 ? 0 : 1;
}

/** Posts the bodies and waits until ingest has a verdict on each, gave it up, or the time is up. */
async function deliver(product: Product, bodies: readonly Body[]): Promise<Delivered[]> {
  const posted: { body: Body; sha256: string; status: number | string; before: readonly LogEntry[] }[] = [];
  const waiting = [...bodies];
  await Promise.all(
    Array.from({ length: atOnce }, async () => {
      for (let body = waiting.shift(); body !== undefined; body = waiting.shift()) {
        const sha256 = createHash('sha256').update(body.bytes).digest('hex');
        const before = await product.verdicts(sha256);
        const status = await product.post(body.bytes).catch((error: Error) => error.message);
        posted.push({ body, sha256, status, before });
      }
    }),
  );
  posted.sort((a, b) => bodies.indexOf(a.body) - bodies.indexOf(b.body));

  const deadline = performance.now() + verdictWithinMs;
  const delivered: Delivered[] = [];
  for (const { body, sha256, status, before } of posted) {
    let [entry] = before;
    let deadLetter: string | undefined;
    while (status === 200 && !entry && deadLetter === undefined && performance.now() < deadline) {
      [entry] = await product.verdicts(sha256);
      if (entry) break;
      deadLetter = (await product.deadLetters()).find((dead) => dead.deadLetter.messageId?.includes(sha256))?.deadLetter
        .errorCode;
      await delay(pollMs);
    }
    delivered.push({ body, status, entry, isOld: before.length > 0, deadLetter });
  }
  return delivered;
}

function readArguments() {
  try {
    const { positionals, values } = parseArgs({
      allowPositionals: true,
      options: {
        'as-demo': { type: 'boolean', default: false },
        oddities: { type: 'boolean', default: false },
        demo: { type: 'string' },
      },
    });
    const [folder, ...others] = positionals;
    if (others.length > 0 || (folder === undefined && !values.oddities)) throw new CannotCheck(usage);
    return { folder: folder === undefined ? undefined : resolve(home(), folder), options: values };
  } catch (error) {
    throw error instanceof CannotCheck ? error : new CannotCheck(`${(error as Error).message}\n\n${usage}`);
  }
}

/** Where the command was typed: npm itself goes to the project's folder. */
function home(): string {
  return process.env.INIT_CWD ?? process.cwd();
}

function readBodies(
  folder: string | undefined,
  options: { readonly 'as-demo': boolean; readonly oddities: boolean },
  phoneNumberId: string,
): Body[] {
  const files = folder === undefined ? [] : filesOf(folder);
  const read = files.map((name) => {
    const bytes = readFileSync(join(folder ?? '', name));
    const body = parse(bytes);
    const sent = options['as-demo'] ? asDemo(body, name, phoneNumberId) : body;
    return { name, bytes: options['as-demo'] && body !== undefined ? bytesOf(sent) : bytes, found: walkBody(sent) };
  });
  const made = options.oddities ? oddities(phoneNumberId) : [];
  return [
    ...read,
    ...made.map(({ name, body }) => ({ name: `(${name})`, bytes: bytesOf(body), found: walkBody(body) })),
  ];
}

function filesOf(folder: string): string[] {
  try {
    return readdirSync(folder)
      .filter((name) => name.endsWith('.json'))
      .sort();
  } catch {
    throw new CannotCheck(`${folder} is not a folder that can be read.`);
  }
}

function parse(bytes: Buffer): unknown {
  try {
    return JSON.parse(bytes.toString('utf8'));
  } catch {
    return undefined;
  }
}

const bytesOf = (body: unknown): Buffer => Buffer.from(JSON.stringify(body));

/**
 * The same JSON in other bytes, so that JetStream does not drop it and the unique index has to: white space at the end that no
 * earlier run had.
 */
function respaced(bytes: Buffer): Buffer {
  const spaces = Array.from({ length: 32 }, () => ' \t'[randomInt(2)]).join('');
  return Buffer.concat([bytes, Buffer.from(spaces)]);
}

/** Messages and echoes for the demo's number, each id once. */
function expectedOf(
  bodies: readonly Body[],
  phoneNumberId: string,
): (ExpectedMessage & { readonly isEcho: boolean })[] {
  const all = bodies.flatMap(({ name, found }) => [
    ...found.messages.map((message) => ({ name, message, isEcho: false })),
    ...found.echoes.map((message) => ({ name, message, isEcho: true })),
  ]);
  const keyOf = ({ id, raw }: FoundMessage) => (typeof id === 'string' ? `id ${id}` : JSON.stringify(raw));
  const mine = all.filter(({ message }) => message.phoneNumberId === phoneNumberId);
  return [...Map.groupBy(mine, ({ message }) => keyOf(message)).values()].flatMap(([one]) => (one ? [one] : []));
}

const isOk = ({ status }: Delivered): boolean => status === 200;
const repeats = (delivered: readonly Delivered[]): number =>
  delivered.reduce((total, { entry, isOld }) => total + (isOld ? 0 : (entry?.repeated ?? 0)), 0);

/** "40 stored, 3 ignored" */
function tally(delivered: readonly Delivered[]): string {
  const byVerdict = Map.groupBy(delivered, ({ entry }) => entry?.verdict ?? 'none');
  return [...byVerdict].map(([verdict, { length }]) => `${length} ${verdict}`).join(', ');
}

function lineOf({ body: { name, found }, status, entry, isOld, deadLetter }: Delivered): string {
  const counts = [
    [found.messages.length, 'message'],
    [found.echoes.length, 'echo'],
    [found.statuses, 'status'],
    [found.others, 'other'],
  ] as const;
  const items = counts.flatMap(([count, what]) => (count === 0 ? [] : [`${count} ${what}`])).join(', ') || 'nothing';
  const verdict = entry?.verdict ?? (deadLetter === undefined ? 'no verdict' : 'dead letter');
  const result = entry && !isOld ? `stored ${entry.stored}, repeated ${entry.repeated}` : '';
  return `${String(status).padEnd(4)} ${(isOld ? `sent before: ${verdict}` : verdict.padEnd(15) + result).padEnd(41)} ${items.padEnd(24)} ${name}`;
}

function problemsOf({ body: { name, found }, status, entry, deadLetter }: Delivered): string[] {
  if (status !== 200) return [`${name}: answered ${status}`];
  if (deadLetter !== undefined) return [`${name}: dead letter ${deadLetter}`];
  if (!entry) return [`${name}: no verdict within ${verdictWithinMs / 1000} s`];
  if (entry.verdict === 'unparsed') return [`${name}: an item could not be stored and is kept unparsed`];
  const items = found.messages.length + found.echoes.length + found.statuses;
  return entry.found < items ? [`${name}: the product found ${entry.found} of ${items} items`] : [];
}

function print(what: string, count: number, more = ''): void {
  console.log(`${what.padEnd(16)} ${String(count).padStart(5)}${more === '' ? '' : `   ${more}`}`);
}

try {
  process.exitCode = await main();
} catch (error) {
  if (error instanceof TypeError && error.message === 'fetch failed')
    console.error('The product does not answer. Start it with npm start.');
  else console.error(error instanceof CannotCheck ? error.message : error);
  process.exitCode = 1;
}

import { mkdtemp, readFile, rm } from 'node:fs/promises';
import { createConnection } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import type { MailEntry } from './mailbox-schemas.ts';
import { startSandbox, type RunningSandbox } from './start-sandbox.ts';

let dataDir: string;
let sandbox: RunningSandbox;
beforeEach(async () => {
  dataDir = await mkdtemp(join(tmpdir(), 'mailbox-'));
  sandbox = await startSandbox({ host: '127.0.0.1', port: 0, dataDir });
});
afterEach(async () => {
  await sandbox.close();
  await rm(dataDir, { recursive: true });
});

/** Says the lines to the server, each after the reply to the one before. Gives the replies' codes; a cut connection is `cut`. */
function say(...lines: string[]): Promise<string[]> {
  return new Promise((resolve, reject) => {
    const socket = createConnection(Number(new URL(sandbox.smtpUrl).port), '127.0.0.1');
    const codes: string[] = [];
    const waiting = [...lines];
    let heard = '';
    socket.on('error', reject);
    socket.on('data', (data) => {
      heard += data.toString();
      // The last line of a reply has a space after its code (RFC 5321 4.2.1).
      const reply = /^(\d{3}) .*\r\n$/m.exec(heard);
      if (!reply) return;
      codes.push(reply[1] ?? '');
      heard = '';
      const next = waiting.shift();
      if (next === undefined) socket.end();
      else socket.write(`${next}\r\n`);
    });
    socket.on('close', () => resolve(waiting.length === 0 && codes.length > lines.length ? codes : [...codes, 'cut']));
  });
}
const mail = (subject: string) => [
  'EHLO here',
  'MAIL FROM:<from@example.com>',
  'RCPT TO:<to@example.com>',
  'DATA',
  `From: from@example.com\r\nTo: to@example.com\r\nSubject: ${subject}\r\n\r\nHello\r\n.`,
];
async function mails(query = ''): Promise<MailEntry[]> {
  const response = await fetch(`${sandbox.url}/sandbox/mails${query}`);
  return ((await response.json()) as { items: MailEntry[] }).items;
}
const control = (method: string, path: string, body?: unknown) =>
  fetch(`${sandbox.url}/sandbox${path}`, {
    method,
    ...(body !== undefined && { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
  });

describe('the mailbox', () => {
  it('takes a mail, shows it and has it on file before it says so', async () => {
    expect(await say(...mail('=?utf-8?q?Caf=C3=A9?='))).toEqual(['220', '250', '250', '250', '354', '250']);
    const line = (await readFile(join(dataDir, 'sandbox-mails.jsonl'), 'utf8')).trim();
    const [shown] = await mails();
    expect(JSON.parse(line)).toEqual(shown);
    expect(shown).toMatchObject({
      n: 1,
      from: 'from@example.com',
      to: ['to@example.com'],
      subject: 'Café',
      headers: { subject: '=?utf-8?q?Caf=C3=A9?=' },
      text: 'Hello\n',
      attachments: [],
    });
    await say(...mail('second'));
    expect((await mails('?after=1')).map(({ subject }) => subject)).toEqual(['second']);
  });

  it('keeps its mails over a restart, and forgets them at a reset', async () => {
    await say(...mail('first'));
    await sandbox.close();
    sandbox = await startSandbox({ host: '127.0.0.1', port: 0, dataDir });
    expect(await mails()).toHaveLength(1);
    await control('POST', '/reset');
    expect(await mails()).toEqual([]);
  });

  it('refuses where and as often as it is told, loses answers, and is away and back under the same port', async () => {
    await control('PUT', '/mailbox', { refuse: { at: 'recipient', status: 451, times: 1 } });
    expect(await say(...mail('refused').slice(0, 3))).toEqual(['220', '250', '250', '451']);
    await control('PUT', '/mailbox', { lostAnswers: 1 });
    expect((await say(...mail('lost'))).at(-1)).toBe('cut');
    expect((await mails()).map(({ subject }) => subject)).toEqual(['lost']);
    const { smtpUrl } = sandbox;
    await control('PUT', '/mailbox', { isAway: true });
    await expect(say('QUIT')).rejects.toMatchObject({ code: 'ECONNREFUSED' });
    const back = await control('PUT', '/mailbox', {});
    expect(await back.json()).toMatchObject({ url: smtpUrl, isAway: false });
    expect((await say(...mail('again'))).at(-1)).toBe('250');
    expect((await control('PUT', '/mailbox', { refuse: { at: 'anywhere', status: 1 } })).status).toBe(422);
  });
});

import { spawn } from 'node:child_process';
import { randomBytes } from 'node:crypto';
import { join } from 'node:path';
import { eventually } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { root, startStandalone, type StandaloneProcess } from './running-standalone.ts';

/** A first start of standalone, with other tests beside it. */
const startTimeoutMs = 90_000;
const phone = '15550107788';
const words = 'kumquats at dawn';
/** Signed by the sandbox, but no JSON: nothing that comes again would be better, so it is given up at once. */
const poison = `{"entry": [{"from": "${phone}", "text": "${words}"`;

describe('npm run operator', () => {
  let standalone: Awaited<ReturnType<typeof startStandalone>>;
  beforeAll(async () => {
    standalone = await startStandalone({ env: { LOG_LEVEL: 'info' } });
  }, startTimeoutMs);
  afterAll(() => standalone.stop(), startTimeoutMs);

  const operator = (...args: string[]) => run(standalone, args);

  async function sendPoison(): Promise<void> {
    const { sandboxUrl, phoneNumberId } = standalone.demo;
    const response = await fetch(`${sandboxUrl}/sandbox/webhooks`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({
        phoneNumberId,
        rawBase64: Buffer.from(poison + randomBytes(4).toString('hex')).toString('base64'),
      }),
    });
    expect({ status: response.status, body: await response.text() }).toMatchObject({ status: 200 });
  }

  /** The rows of the list, apart into their columns. */
  async function listed(): Promise<string[][]> {
    const { code, out, err } = await operator('dead-letters', 'list');
    expect({ code, err }).toEqual({ code: 0, err: '' });
    if (out === 'There are no dead letters.\n') return [];
    return out
      .trimEnd()
      .split('\n')
      .slice(1)
      .map((line) => line.split(/ {2,}/));
  }

  it(
    'lists what a consumer gave up by ids and codes, and puts it back',
    async () => {
      expect(await listed()).toEqual([]);
      await sendPoison();
      const [row = []] = await eventually(async () => (await listed()).length === 1 && listed(), {
        what: 'the dead letter is listed',
        timeoutMs: 15_000,
      });
      const [sequence = '', , message, code, tries, workspace] = row;
      expect({ code, tries, message }).toEqual({
        code: 'webhook_not_json',
        tries: '1',
        message: expect.stringMatching(/^WEBHOOKS\/ingest \d+$/),
      });
      expect(workspace).toMatch(/^[0-9a-f-]{36}$/);
      const { out } = await operator('dead-letters', 'list');
      for (const planted of [phone, words, 'entry', standalone.demo.phoneNumberId]) expect(out).not.toContain(planted);

      expect(await operator('dead-letters', 'replay', sequence)).toEqual({
        code: 0,
        out: 'Put back: 1 of 1\n',
        err: '',
      });
      // It went back into the stream, was read again, and is given up again, under a new number.
      const again = await eventually(
        async () => (await listed())[0]?.[0] !== sequence && (await listed()).length === 1 && listed(),
        {
          what: 'the body was read again',
          timeoutMs: 15_000,
        },
      );
      expect(again[0]?.[2]).not.toBe(message);
      expect(await operator('dead-letters', 'replay', sequence)).toMatchObject({
        code: 1,
        err: expect.stringMatching(/dead_letter_not_found\)\n$/),
      });
      await sendPoison();
      await eventually(async () => (await listed()).length === 2, { what: 'two are listed', timeoutMs: 15_000 });
      expect(await operator('dead-letters', 'replay', 'all')).toEqual({ code: 0, out: 'Put back: 2 of 2\n', err: '' });
    },
    startTimeoutMs,
  );

  it(
    'says that nothing is stuck, and shows the channel whose token Meta refuses and the reply that waits for it',
    async () => {
      expect(await operator('stuck')).toEqual({ code: 0, out: 'Nothing is stuck.\n', err: '' });
      const { sandboxUrl, phoneNumberId, channelId } = standalone.demo;
      const control = async (method: string, path: string, body: object) => {
        const headers = { 'content-type': 'application/json' };
        const response = await fetch(`${sandboxUrl}/sandbox${path}`, { method, headers, body: JSON.stringify(body) });
        expect(response.ok).toBe(true);
      };
      await control('PUT', '/faults', { expiredToken: true });
      await control('POST', '/messages', { phoneNumberId, contactId: 'customer-a', text: words });
      const { out } = await eventually(
        async () => {
          const answer = await operator('stuck');
          return answer.out.includes(channelId) && answer;
        },
        { what: 'the channel is listed', timeoutMs: 30_000 },
      );
      expect(out).toMatch(/^channel +\S+ +token_expired /m);
      expect(out).not.toContain(words);
    },
    startTimeoutMs,
  );

  it(
    'makes a workspace whose key opens the API',
    async () => {
      const { code, out, err } = await operator('workspaces', 'create', '--name', 'A second shop', '--plan', 'growth');
      expect({ code, err }).toEqual({ code: 0, err: '' });
      const [, workspaceId, apiKey] = /^Workspace (\S+) \(plan growth\)\nAPI key {3}(al_\S+)\n/.exec(out) ?? [];
      const response = await fetch(`${standalone.demo.baseUrl}/api/v1/workspaces/${workspaceId}`, {
        headers: { authorization: `Bearer ${apiKey}` },
      });
      expect(await response.json()).toMatchObject({ id: workspaceId, name: 'A second shop', plan: 'growth' });
    },
    startTimeoutMs,
  );

  it(
    'changes the plan of a workspace: its numbers stop to answer, and answer again',
    async () => {
      const { channelId, apiKey, baseUrl } = standalone.demo;
      const get = async <Answer>(path: string): Promise<Answer> =>
        (await (
          await fetch(`${baseUrl}/api/v1${path}`, { headers: { authorization: `Bearer ${apiKey}` } })
        ).json()) as Answer;
      const { workspaceId } = standalone.demo;
      const answersNow = async () => (await get<{ answers: boolean }>(`/channels/${channelId}`)).answers;
      expect(await operator('set-plan', workspaceId, 'starter')).toEqual({
        code: 0,
        out: `Workspace ${workspaceId} (plan starter)\nChannels suspended: 1, resumed: 0\n`,
        err: '',
      });
      expect(await answersNow()).toBe(false);
      const { out } = await operator('set-plan', workspaceId, 'scale');
      expect(out).toContain('Channels suspended: 0, resumed: 1');
      expect(await answersNow()).toBe(true);
      expect(await get('/usage')).toMatchObject({ messages: { limit: 20_000 } });
    },
    startTimeoutMs,
  );

  it(
    'seals stored secrets anew, says how many are left, and touches none that does not open',
    async () => {
      expect(await operator('rotate-keys')).toEqual({
        code: 0,
        out: 'Sealed anew with k1: 0\nLeft with another key: 0\n',
        err: '',
      });
      // A ring without the key of this installation.
      const other = { ENCRYPTION_KEYS: `k9:${randomBytes(32).toString('base64')}` };
      const { code, out, err } = await run(standalone, ['rotate-keys'], other);
      expect({ code, out }).toEqual({
        code: 1,
        out: expect.stringMatching(/^Sealed anew with k9: 0\nLeft with another key: [1-9]\d*\n$/),
      });
      expect(err).toMatch(/^operator: What is left does not open[^\n]+\n$/);
      expect(await operator('rotate-keys')).toMatchObject({ code: 0, out: expect.stringContaining('another key: 0') });
    },
    startTimeoutMs,
  );

  it.each([
    ['no command', ['sweep'], 'There is no such command.'],
    ['an unknown option', ['stuck', '--hours', '1'], "Unknown option '--hours'"],
    [
      'a number that is none',
      ['dead-letters', 'replay', 'first'],
      'The sequence is a whole number from 1 on, not "first".',
    ],
    ['a missing word', ['dead-letters', 'replay'], 'Say which: a sequence from the list, or all.'],
    ['a missing name', ['workspaces', 'create'], '--name is wrong or missing'],
    ['a plan of nobody', ['set-plan', 'scale'], 'Say which workspace, by its id.'],
    [
      'a plan that is none',
      ['set-plan', '00000000-0000-7000-8000-000000000000', 'gold'],
      'The plan is wrong or missing',
    ],
    ['an unknown plan', ['workspaces', 'create', '--name', 'x', '--plan', 'gold'], '--plan is wrong or missing'],
  ])('says in one line what is wrong with %s', async (_what, args, says) => {
    const { code, out, err } = await operator(...args);
    expect({ code, out }).toEqual({ code: 1, out: '' });
    expect(err).toMatch(/^operator: [^\n]+\n$/);
    expect(err).toContain(says);
  });

  it('says in one line that nothing runs where it looks', async () => {
    const elsewhere = { ...standalone, dataDir: join(standalone.dataDir, 'nowhere') };
    for (const args of [['dead-letters', 'list'], ['stuck']]) {
      const { code, err } = await run(elsewhere, args);
      expect(code).toBe(1);
      expect(err).toMatch(/^operator: No embedded (NATS|Postgres) runs in [^\n]+\(nothing_runs_here\)\n$/);
    }
  });

  it('shows what there is', async () => {
    expect(await operator('--help')).toMatchObject({
      code: 0,
      err: '',
      out: expect.stringContaining('dead-letters replay all'),
    });
  });
});

async function run(
  { dataDir }: Pick<StandaloneProcess, 'dataDir'>,
  args: readonly string[],
  settings: Readonly<Record<string, string>> = {},
): Promise<{ code: number | null; out: string; err: string }> {
  const child = spawn(process.execPath, [join(root, 'apps/standalone/dist/operator.js'), ...args], {
    cwd: root,
    env: { PATH: process.env.PATH, DATA_DIR: dataDir, ...settings },
    stdio: ['ignore', 'pipe', 'pipe'],
  });
  let out = '';
  let err = '';
  child.stdout.on('data', (chunk: Buffer) => (out += chunk.toString()));
  child.stderr.on('data', (chunk: Buffer) => (err += chunk.toString()));
  const code = await new Promise<number | null>((resolve, reject) => {
    child.once('error', reject);
    child.once('close', resolve);
  });
  return { code, out, err };
}

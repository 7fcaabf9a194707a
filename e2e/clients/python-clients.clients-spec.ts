import { execFile } from 'node:child_process';
import { createHash, randomBytes } from 'node:crypto';
import { existsSync, mkdirSync, readFileSync, renameSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { promisify } from 'node:util';
import { parseEvent } from '@answerline/contracts';
import { findNatsServer, freePort, startEmbeddedNats, type EmbeddedNats } from '@answerline/embedded-services';
import { tempDir } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { callApi, root, startStandalone, type DemoFile } from '../running-standalone.ts';

/** A program of ours in another language, as an integrator would write it, against the product as it is shipped. */

const run = promisify(execFile);
const here = join(root, 'e2e/clients');
const protos = join(root, 'libs/contracts/proto');
const internalToken = randomBytes(24).toString('base64url');
/** pip fetches 30 MB, once. */
const INSTALL_MS = 300_000;
const START_MS = 120_000;
const CALL_MS = 60_000;

let python: string;
let stubs: string;
let ragAddress: string;
let nats: EmbeddedNats;
let standalone: Awaited<ReturnType<typeof startStandalone>>;
let demo: DemoFile & { readonly workspaceId: string };

beforeAll(async () => {
  python = await pythonWithPackages();
  stubs = await tempDir();
  const files = ['answerline/rag/v1/rag.proto'];
  await run(python, [
    '-m',
    'grpc_tools.protoc',
    '-I',
    protos,
    `--python_out=${stubs}`,
    `--grpc_python_out=${stubs}`,
    ...files,
  ]);
}, INSTALL_MS);

beforeAll(async () => {
  nats = await startEmbeddedNats({ dataDir: await tempDir(), program: await findNatsServer({}) });
  const grpcPort = await freePort();
  ragAddress = `127.0.0.1:${String(grpcPort)}`;
  standalone = await startStandalone({
    env: { NATS_URL: natsUrl(), GRPC_PORT: String(grpcPort), INTERNAL_TOKEN: internalToken },
  });
  demo = standalone.demo;
}, START_MS);

afterAll(async () => {
  await standalone.stop();
  await nats.stop();
}, START_MS);

const natsUrl = (): string => nats.url.replace('nats://', `nats://${nats.token}@`);

/** The Python of an environment of its own in .cache that has what requirements.txt names; made once. */
async function pythonWithPackages(): Promise<string> {
  const system = process.env.PYTHON ?? 'python3';
  const requirements = join(here, 'requirements.txt');
  const { stdout: version } = await run(system, ['--version']);
  const key = createHash('sha256').update(version).update(readFileSync(requirements)).digest('hex').slice(0, 16);
  const folder = join(root, '.cache', `python-clients-${key}`);
  const programIn = (place: string): string => join(place, 'bin/python');
  const marker = join(folder, 'complete');
  if (!existsSync(marker)) {
    rmSync(folder, { recursive: true, force: true });
    await run(system, ['-m', 'venv', folder]);
    const wheelsOnly = ['--only-binary=:all:', '--quiet', '--disable-pip-version-check'];
    await run(programIn(folder), ['-m', 'pip', 'install', ...wheelsOnly, '-r', requirements]);
    // Last, and in one step: an environment that was cut short is made again.
    mkdirSync(`${marker}.new`);
    renameSync(`${marker}.new`, marker);
  }
  return programIn(folder);
}

async function runClient(file: string, args: readonly string[], env: Record<string, string>): Promise<unknown[]> {
  const { stdout } = await run(python, [join(here, file), ...args], {
    env: { PATH: process.env.PATH, PYTHONPATH: stubs, PYTHONDONTWRITEBYTECODE: '1', ...env },
    timeout: CALL_MS,
  });
  return stdout
    .trim()
    .split('\n')
    .map((line) => JSON.parse(line) as unknown);
}

describe('a Python client of the gRPC service', () => {
  let said: {
    found: { mode: string; lexicalReason: string; passages: { title: string; lexical: { rank: number } }[] };
    events: { token?: string; result?: { kind: string; text: string; citations: object[]; receiptId: string } }[];
    refused: Record<string, unknown>;
  };
  beforeAll(async () => {
    const args = [demo.workspaceId, demo.chatbotId, 'What are your opening hours?'];
    const env = { RAG_ADDRESS: ragAddress, INTERNAL_TOKEN: internalToken };
    [said] = (await runClient('ask_chatbot.py', args, env)) as [typeof said];
  }, CALL_MS);

  it('finds passages', () => {
    expect(said.found).toMatchObject({ mode: 'SEARCH_MODE_LEXICAL', lexicalReason: 'no_embedding_model' });
    expect(said.found.passages[0]).toMatchObject({ title: expect.any(String), lexical: { rank: 1 } });
  });

  it('gets tokens, then one result, whose receipt the API shows', async () => {
    const last = said.events.at(-1)?.result;
    const tokens = said.events.slice(0, -1).map(({ token }) => token);
    expect(tokens.length).toBeGreaterThan(0);
    expect(tokens).not.toContain(undefined);
    expect(last).toMatchObject({ kind: 'ANSWER_KIND_ANSWER', text: tokens.join('') });
    expect(last?.citations).toHaveLength(1);
    const receipt = await callApi<{ question: string }>(demo, 'GET', `/receipts/${last?.receiptId ?? ''}`);
    expect(receipt.question).toBe('What are your opening hours?');
  });

  it("reads our codes out of an error's details", () => {
    expect(said.refused).toEqual({
      wrongToken: { status: 'UNAUTHENTICATED', code: 'token_invalid', domain: 'answerline' },
      noSuchChatbot: { status: 'NOT_FOUND', code: 'chatbot_not_found', domain: 'answerline' },
      noText: { status: 'INVALID_ARGUMENT', code: 'validation_failed', domain: 'answerline', fields: ['text'] },
    });
  });
});

describe('a Python consumer of EVENTS', () => {
  const write = async (text: string): Promise<void> => {
    const { phoneNumberId, sandboxUrl } = demo;
    const response = await fetch(`${sandboxUrl}/sandbox/messages`, {
      method: 'POST',
      headers: { 'content-type': 'application/json' },
      body: JSON.stringify({ phoneNumberId, waId: '12025550123', text }),
    });
    expect(response.status).toBeLessThan(300);
  };
  interface Read {
    readonly subject: string;
    readonly messageId: string;
    readonly event: Record<string, unknown> & { readonly data: Record<string, unknown> };
  }
  const read = async (count: number) =>
    (await runClient('read_events.py', ['python-crm', String(count)], { NATS_URL: natsUrl() })) as Read[];

  it(
    'reads message_received as docs/events.md describes it, and goes on where it stopped',
    async () => {
      await write('Are you open on Sunday?');
      const [first] = await read(1);
      const { event } = first ?? { event: undefined };
      const { conversationId } = event?.data ?? {};
      expect(Object.keys(event ?? {}).toSorted()).toEqual(
        ['correlationId', 'data', 'id', 'occurredAt', 'type', 'workspaceId'].toSorted(),
      );
      expect(event).toMatchObject({
        id: first?.messageId,
        type: 'message_received',
        workspaceId: demo.workspaceId,
        data: { channelId: demo.channelId, messageType: 'text', number: 1 },
      });
      expect(() => parseEvent(event)).not.toThrow();
      expect(first?.subject).toBe(
        `events.message_received.${demo.workspaceId}.${demo.channelId}.${String(conversationId)}`,
      );
      expect(JSON.stringify(first)).not.toMatch(/Sunday|12025550123/);

      await write('And on Monday?');
      const [second] = await read(1);
      expect(second?.event.data).toMatchObject({ conversationId, number: 2 });
    },
    CALL_MS,
  );
});

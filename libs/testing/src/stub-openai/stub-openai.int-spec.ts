import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { createInterface } from 'node:readline';
import { fileURLToPath } from 'node:url';
import { afterAll, afterEach, beforeAll, describe, expect, it } from '@jest/globals';
import { startStubOpenAi, type StubOpenAi, type StubOptions } from './stub-openai.ts';
import { stubEmbedding } from './stub-embedding.ts';

let stub: StubOpenAi;
beforeAll(async () => {
  stub = await startStubOpenAi({ apiKey: 'secret' });
});
afterEach(() => stub.clear());
afterAll(() => stub.close());

const post = (path: string, body: unknown, { url = stub.url, key = 'secret' } = {}) =>
  fetch(`${url}${path}`, { method: 'POST', body: JSON.stringify(body), headers: { authorization: `Bearer ${key}` } });
const chat = (content: string, more: object = {}) => ({ model: 'm', messages: [{ role: 'user', content }], ...more });

describe('the stub', () => {
  it('records what it was asked', async () => {
    await post('/chat/completions', chat('Hello', { max_tokens: 5 }));
    await post('/embeddings', { model: 'e', input: ['one'] });
    expect(stub.requests.map(({ path }) => path)).toEqual(['/chat/completions', '/embeddings']);
    expect(stub.chats()[0]).toEqual(chat('Hello', { max_tokens: 5 }));
    expect(stub.embeddings()[0]?.input).toEqual(['one']);
  });

  it.each([
    ['another key', '/chat/completions', chat('Hello'), 'wrong', 401],
    ['no model', '/chat/completions', { messages: [{ role: 'user', content: 'x' }] }, 'secret', 400],
    ['no messages', '/chat/completions', { model: 'm', messages: [] }, 'secret', 400],
    ['a strange role', '/chat/completions', { model: 'm', messages: [{ role: 'human', content: 'x' }] }, 'secret', 400],
    ['an empty text', '/embeddings', { model: 'e', input: [''] }, 'secret', 400],
    ['another address', '/completions', chat('Hello'), 'secret', 404],
  ])('refuses %s', async (_what, path, body, key, status) => {
    expect((await post(path, body, { key })).status).toBe(status);
  });

  it('is told by another process what to do, and tells it what it saw', async () => {
    const control = stub.url.replace('/v1', '/stub');
    await fetch(`${control}/next`, { method: 'POST', body: JSON.stringify([{ status: 503 }, { text: 'Planned' }]) });
    expect((await post('/chat/completions', chat('One'))).status).toBe(503);
    expect(await (await post('/chat/completions', chat('Two'))).text()).toContain('Planned');
    const { items } = (await (await fetch(`${control}/requests`)).json()) as { items: unknown[] };
    expect(items).toHaveLength(2);
    await fetch(`${control}/requests`, { method: 'DELETE' });
    expect(stub.requests).toEqual([]);
  });

  it('fails and waits by chance, the same way for the same seed', async () => {
    const run = async (chance: NonNullable<StubOptions['chance']>) => {
      const own = await startStubOpenAi({ chance });
      const seen: string[] = [];
      for (let turn = 0; turn < 60; turn += 1) {
        seen.push(
          await post('/chat/completions', chat('Hello'), { url: own.url })
            .then(async (response) => `${String(response.status)} ${await response.text()}`)
            .catch(() => 'cut'),
        );
      }
      await own.close();
      return seen;
    };
    const first = await run({ seed: 7, maxDelayMs: 3, failureShare: 0.3 });
    expect(await run({ seed: 7, maxDelayMs: 3, failureShare: 0.3 })).toEqual(first);
    expect(await run({ seed: 8, maxDelayMs: 3, failureShare: 0.3 })).not.toEqual(first);
    const failed = first.filter((answer) => !answer.includes('You said')).length;
    expect(failed).toBeGreaterThan(5);
    expect(failed).toBeLessThan(35);
    expect((await run({ seed: 7, maxDelayMs: 1, failureShare: 0 })).every((answer) => answer.startsWith('200'))).toBe(
      true,
    );
  });

  it('runs as a process of its own', async () => {
    const command = fileURLToPath(new URL('./stub-openai.command.ts', import.meta.url));
    const flags = ['--conditions=@answerline/source', command, '--port', '0', '--dimensions', '8'];
    const child = spawn(process.execPath, flags, { stdio: ['ignore', 'pipe', 'inherit'] });
    const exited = once(child, 'exit');
    const [line] = (await once(createInterface({ input: child.stdout }), 'line')) as [string];
    const url = /^STUB-OPENAI-READY (http:\/\/127\.0\.0\.1:\d+\/v1)$/.exec(line)?.[1] ?? '';
    const { data } = (await (await post('/embeddings', { model: 'e', input: 'one' }, { url })).json()) as {
      data: { embedding: number[] }[];
    };
    expect(data[0]?.embedding).toHaveLength(8);
    child.kill('SIGTERM');
    expect(await exited).toEqual([0, null]);
  });
});

describe('its vectors', () => {
  const nearness = (a: string, b: string) => {
    const [left, right] = [a, b].map((text) => stubEmbedding(text, 64));
    return left?.reduce((sum, value, place) => sum + value * (right?.[place] ?? 0), 0) ?? 0;
  };

  it('are near each other for texts with words in common, and the same for the same text', () => {
    expect(nearness('When do you open?', 'When do you open?')).toBeCloseTo(1);
    const near = nearness('Where can I park my bicycle?', 'Bicycles can be parked in the yard.');
    expect(near).toBeGreaterThan(nearness('Where can I park my bicycle?', 'Rye bread costs 4.20 a loaf.') + 0.2);
  });

  it('have a length of 1, whatever the text', () => {
    for (const text of ['', '...', 'a', 'When do you open?']) {
      expect(Math.hypot(...stubEmbedding(text, 16))).toBeCloseTo(1);
    }
  });
});

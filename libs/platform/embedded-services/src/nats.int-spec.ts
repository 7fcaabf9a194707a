import { mkdir, stat, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { join } from 'node:path';
import { eventually, freePort, startAndAbandon, tempDir } from '@answerline/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { jetstream, jetstreamManager } from '@nats-io/jetstream';
import { connect, type NatsConnection } from '@nats-io/transport-node';
import { runningNats, startEmbeddedNats, type EmbeddedNats, type EmbeddedNatsOptions } from './nats.ts';

const program = process.env.TEST_NATS_SERVER;

async function withConnection<T>(nats: EmbeddedNats, work: (connection: NatsConnection) => Promise<T>): Promise<T> {
  const connection = await connect({ servers: nats.url, token: nats.token, reconnect: false });
  try {
    return await work(connection);
  } finally {
    await connection.close();
  }
}

const publish = (nats: EmbeddedNats, text: string) =>
  withConnection(nats, async (connection) => {
    const manager = await jetstreamManager(connection);
    await manager.streams.add({ name: 'ORDERS', subjects: ['orders'] });
    await jetstream(connection).publish('orders', text);
  });

const firstOrder = (nats: EmbeddedNats) =>
  withConnection(nats, async (connection) => {
    const manager = await jetstreamManager(connection);
    return (await manager.streams.getMessage('ORDERS', { seq: 1 }))?.string();
  });

describe('startEmbeddedNats', () => {
  let dataDir: string;
  const running: EmbeddedNats[] = [];
  const start = async (options: Partial<EmbeddedNatsOptions> = {}) => {
    const nats = await startEmbeddedNats({ dataDir, program, ...options });
    running.push(nats);
    return nats;
  };

  beforeEach(async () => {
    dataDir = join(await tempDir(), 'nats');
  });
  afterEach(() => Promise.all(running.splice(0).map((nats) => nats.stop())));

  it('takes bodies of 4 MiB and lets nobody in without the token', async () => {
    const nats = await start();
    expect(await withConnection(nats, async ({ info }) => info)).toMatchObject({
      max_payload: 4 * 1024 * 1024,
      jetstream: true,
      host: '127.0.0.1',
    });
    await expect(connect({ servers: nats.url, token: 'guessed', reconnect: false })).rejects.toThrow(/authorization/i);
    for (const file of ['token', 'nats.conf']) expect((await stat(join(dataDir, file))).mode & 0o777).toBe(0o600);
  });

  it('tells another process where it runs, and nothing once it has stopped', async () => {
    expect(runningNats(dataDir)).toBeUndefined();
    const nats = await start();
    expect(runningNats(dataDir)).toEqual({ url: nats.url, token: nats.token });
    await nats.stop();
    expect(runningNats(dataDir)).toBeUndefined();
  });

  it('has room for the streams of production', async () => {
    await withConnection(await start(), async (connection) => {
      const account = await (await jetstreamManager(connection)).getAccountInfo();
      expect(account.limits.max_storage).toBe(-1);
      const manager = await jetstreamManager(connection);
      await manager.streams.add({ name: 'A', subjects: ['a'], max_bytes: 10 * 1024 ** 3 });
      await manager.streams.add({ name: 'B', subjects: ['b'], max_bytes: 6 * 1024 ** 3 });
    });
  });

  it('keeps token and messages when it is stopped and started again', async () => {
    const first = await start();
    await publish(first, 'two loaves');
    await first.stop();
    const second = await start();
    expect(second.token).toBe(first.token);
    expect(await firstOrder(second)).toBe('two loaves');
  });

  it('keeps acknowledged messages when it is killed', async () => {
    const first = await start();
    await publish(first, 'two loaves');
    process.kill(first.pid, 'SIGKILL');
    await first.exited;
    expect(await firstOrder(await start({ port: Number(new URL(first.url).port) }))).toBe('two loaves');
  });

  it('stops the nats-server of a run that was killed, and takes over its folder and port', async () => {
    const port = await freePort();
    const orphan = await startAndAbandon('startEmbeddedNats', { dataDir, port, program });
    const progress: string[] = [];
    await start({ port, onProgress: (line) => progress.push(line) });
    expect(progress).toEqual([`Stopping a nats-server that an earlier run left behind (process ${orphan.pid})`]);
    await eventually(() => expect(() => process.kill(orphan.pid, 0)).toThrow('ESRCH'), { what: 'the orphan is gone' });
  });

  it('says which port is in use and which setting changes it', async () => {
    const port = await freePort();
    const other = createServer().listen(port, '127.0.0.1').unref();
    await expect(start({ port, portSetting: 'NATS_PORT' })).rejects.toMatchObject({
      code: 'port_unavailable',
      message: `Port ${port}, wanted for nats-server, is in use by another program. Free it or change NATS_PORT.`,
    });
    await new Promise((resolve) => other.close(resolve));
  });

  it('shows the end of the log when the server does not start', async () => {
    await mkdir(dataDir);
    await writeFile(join(dataDir, 'jetstream'), 'a file where a folder must be');
    await expect(start()).rejects.toMatchObject({
      code: 'nats_start_failed',
      message: expect.stringContaining('not a directory'),
    });
  });
});

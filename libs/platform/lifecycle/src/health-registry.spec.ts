import { createLogger } from '@answerline/logging';
import { afterEach, describe, expect, it, jest } from '@jest/globals';
import { fastify } from 'fastify';
import { HealthRegistry } from './health-registry.ts';
import { healthRoutes } from './health-routes.ts';
import { startHealthServer } from './health-server.ts';

afterEach(() => {
  jest.useRealTimers();
});

function registry() {
  const clock = { now: 0 };
  const lines: string[] = [];
  const health = new HealthRegistry({ now: () => clock.now });
  health.logTo(createLogger({ app: 'test', level: 'info', destination: { write: (line) => void lines.push(line) } }));
  return { health, clock, lines };
}

describe('HealthRegistry', () => {
  it('is ready when every check passes, and names those that do not', async () => {
    const { health } = registry();
    expect(await health.ready()).toEqual({ ready: true, failing: [] });
    health.add('postgres', async () => {});
    health.add('nats', async () => false);
    health.add('index', () => Promise.reject(new Error('away')));
    health.add('thrower', () => {
      throw new Error('at once');
    });
    expect(await health.ready()).toEqual({ ready: false, failing: ['nats', 'index', 'thrower'] });
    expect(health.live()).toBe(true);
  });

  it('asks a check once a second at most', async () => {
    const { health, clock } = registry();
    let asked = 0;
    health.add('postgres', async () => (asked += 1));
    await Promise.all([health.ready(), health.ready()]);
    clock.now = 999;
    await health.ready();
    expect(asked).toBe(1);
    clock.now = 1_000;
    await health.ready();
    expect(asked).toBe(2);
  });

  it('fails a check that hangs for 2 s, and does not pile up calls meanwhile', async () => {
    jest.useFakeTimers();
    const { health, clock } = registry();
    let asked = 0;
    health.add('postgres', () => {
      asked += 1;
      return new Promise(() => {});
    });
    const answers = Promise.all([health.ready(), health.ready()]);
    clock.now = 1_999;
    await jest.advanceTimersByTimeAsync(1_999);
    const later = health.ready();
    await jest.advanceTimersByTimeAsync(1);
    expect(await answers).toEqual([
      { ready: false, failing: ['postgres'] },
      { ready: false, failing: ['postgres'] },
    ]);
    expect(await later).toEqual({ ready: false, failing: ['postgres'] });
    expect(asked).toBe(1);
    expect(jest.getTimerCount()).toBe(0);
  });

  it('logs when a check begins to fail and when it passes again, once each', async () => {
    const { health, clock, lines } = registry();
    let isAway = true;
    health.add('postgres', async () => {
      if (isAway) throw new Error('connection refused');
    });
    for (let turn = 0; turn < 3; turn += 1) {
      clock.now += 1_000;
      await health.ready();
    }
    isAway = false;
    clock.now += 1_000;
    await health.ready();
    const read = lines.map((line) => JSON.parse(line) as { message: string; check: string });
    expect(read.map(({ message, check }) => [message, check])).toEqual([
      ['Health check fails', 'postgres'],
      ['Health check passes again', 'postgres'],
    ]);
    expect(lines[0]).toContain('connection refused');
  });

  it('is not ready while stopping, but live', async () => {
    const { health } = registry();
    health.add('postgres', async () => {});
    health.beginStopping();
    expect(await health.ready()).toEqual({ ready: false, failing: ['stopping'] });
    expect(health.live()).toBe(true);
  });
});

describe('healthRoutes', () => {
  it('answers live whatever fails, and ready with the names only', async () => {
    const { health } = registry();
    const server = fastify();
    await server.register(healthRoutes(health));
    expect((await server.inject('/health/ready')).json()).toEqual({ status: 'ok' });
    health.add('postgres', () => Promise.reject(new Error('password planted')));
    const ready = await server.inject('/health/ready');
    expect([ready.statusCode, ready.json(), ready.headers['cache-control']]).toEqual([
      503,
      { status: 'unavailable', failing: ['postgres'] },
      'no-store',
    ]);
    const live = await server.inject('/health/live');
    expect([live.statusCode, live.json()]).toEqual([200, { status: 'ok' }]);
  });
});

describe('startHealthServer', () => {
  it('serves the routes until it is stopped, also to clients that keep their connection', async () => {
    const { health } = registry();
    const server = await startHealthServer({ host: '127.0.0.1', port: 0, registry: health });
    expect(server.port).toBeGreaterThan(0);
    expect((await fetch(`http://127.0.0.1:${server.port}/health/live`)).status).toBe(200);
    await server.stop();
    await expect(fetch(`http://127.0.0.1:${server.port}/health/live`)).rejects.toThrow();
  });

  it('says which port is in use and which setting to change', async () => {
    const { health } = registry();
    const first = await startHealthServer({ host: '127.0.0.1', port: 0, registry: health });
    const second = startHealthServer({ host: '127.0.0.1', port: first.port, registry: health });
    await expect(second).rejects.toMatchObject({
      code: 'config_invalid',
      problems: [`Port ${first.port} is in use by another program: stop that program, or set PORT to a free port`],
    });
    await first.stop();
  });

  it('says so when HOST is not ours', async () => {
    const { health } = registry();
    const server = startHealthServer({ host: '192.0.2.1', port: 0, registry: health });
    await expect(server).rejects.toMatchObject({
      problems: ['HOST is not an address of this machine, for example HOST=127.0.0.1'],
    });
  });
});

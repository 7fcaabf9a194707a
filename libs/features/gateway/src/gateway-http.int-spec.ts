import { once } from 'node:events';
import { connect } from 'node:net';
import { startTestGateway } from '@answerline/testing';
import { describe, expect, it } from '@jest/globals';

describe('closing', () => {
  it('does not wait for connections on which nothing was sent', async () => {
    const api = await startTestGateway();
    const { hostname, port } = new URL(api.origin);
    const silent = connect(Number(port), hostname);
    await once(silent, 'connect');
    expect((await fetch(`${api.origin}/health/live`)).status).toBe(200);
    const ended = once(silent, 'close');
    await api.stop();
    await ended;
  });
});

import { once } from 'node:events';
import { connect } from 'node:net';
import { eventually, startTestGateway } from '@answerline/testing';
import { describe, expect, it } from '@jest/globals';

describe('the public address', () => {
  it('by https has browsers come back by https only, and Meta finds nothing where it does not lead here', async () => {
    const api = await startTestGateway({ publicUrl: 'https://answerline.example.com' });
    try {
      const response = await fetch(`${api.origin}/health/live`);
      expect(response.headers.get('strict-transport-security')).toBe('max-age=31536000');
      const { key } = await api.createWorkspace();
      const chatbotId = await api.createChatbot(key);
      const body = api.aConnection();
      const answer = await api.call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, { key, body });
      expect([answer.status, answer.body.code]).toEqual([422, 'callback_unreachable']);
    } finally {
      await api.stop();
    }
  });
});

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

  it('answers a request under way, and does not wait for what else may come on its connection', async () => {
    const api = await startTestGateway();
    const { key, channelId } = await api.furnish();
    await api.sandbox.faults({ kinds: ['management'], latencyMs: 400 });
    const checking = api.call('POST', `/channels/${channelId}/health-checks`, { key });
    await eventually(
      async () => {
        const rows = await api.database.query('SELECT 1 FROM channel_health WHERE channel_id = $1', [channelId]);
        expect(rows).toHaveLength(1);
      },
      { what: 'the request is under way' },
    );
    // Which fails after 25 s; the keep-alive of a client is longer.
    await api.stop();
    expect((await checking).status).toBe(200);
  });
});

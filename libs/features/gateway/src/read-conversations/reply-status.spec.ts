import { describe, expect, it } from '@jest/globals';
import { replyStatus, type SendOfReply } from './reply-status.ts';

const send = (phase: SendOfReply['phase'], rest: Partial<SendOfReply> = {}): SendOfReply => ({
  phase,
  delivery: null,
  failure: null,
  ...rest,
});

describe('replyStatus', () => {
  it.each<[string, SendOfReply[], string | null, string | null]>([
    ['nothing to send', [], null, null],
    ['one that waits', [send('pending')], 'pending', null],
    ['one that waits for another try', [send('retry', { failure: 'rate_limited' })], 'pending', 'rate_limited'],
    ['one under way', [send('sending')], 'sending', null],
    ['one whose answer was lost', [send('unknown')], 'unknown', null],
    ['one that Meta took', [send('accepted')], 'accepted', null],
    ['one that was read', [send('accepted', { delivery: 'read' })], 'read', null],
    ['one that failed', [send('failed', { failure: 'window_closed' })], 'failed', 'window_closed'],
    ['one that a person overtook', [send('superseded')], 'superseded', null],
    ['one that Meta took and could not deliver', [send('accepted', { failure: '131026' })], 'failed', '131026'],
    [
      'one that was delivered after a failure of an earlier try',
      [send('accepted', { delivery: 'delivered', failure: '131026' })],
      'delivered',
      null,
    ],
    ['a second part that waits', [send('accepted', { delivery: 'read' }), send('pending')], 'pending', null],
    [
      'parts read to a different extent',
      [send('accepted', { delivery: 'read' }), send('accepted', { delivery: 'sent' })],
      'sent',
      null,
    ],
    [
      'a part that failed among others',
      [send('accepted'), send('failed', { failure: 'x' }), send('pending')],
      'failed',
      'x',
    ],
  ])('%s', (_what, sends, status, failure) => {
    expect(replyStatus(sends)).toEqual({ status, failure });
  });
});

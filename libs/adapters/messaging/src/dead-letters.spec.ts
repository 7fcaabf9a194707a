import { describe, expect, it } from '@jest/globals';
import { replayId } from './dead-letters.ts';

describe('replayId', () => {
  const at = { stream: 'WEBHOOKS', streamSequence: 7 };

  it('counts up from the id before', () => {
    expect(replayId({ ...at, messageId: 'key:abc' })).toBe('key:abc:r1');
    expect(replayId({ ...at, messageId: 'key:abc:r1' })).toBe('key:abc:r2');
    expect(replayId({ ...at, messageId: 'key:abc:r9' })).toBe('key:abc:r10');
  });

  it('takes the place in the stream when the message had no id', () => {
    expect(replayId({ ...at, messageId: null })).toBe('WEBHOOKS:7:r1');
  });
});

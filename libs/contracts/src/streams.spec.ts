import { describe, expect, it } from '@jest/globals';
import { messagingTopology, minMaxPayloadBytes } from './streams.ts';

const GiB = 1024 ** 3;

describe('messagingTopology', () => {
  it('lets WEBHOOKS grow larger in production', () => {
    const size = (profile: 'standalone' | 'production') =>
      messagingTopology({ profile }).streams.map((stream) => stream.maxBytes / GiB);
    expect(size('standalone')).toEqual([2, 5, 1]);
    expect(size('production')).toEqual([10, 5, 1]);
  });

  const { streams, consumers } = messagingTopology({ profile: 'production' });

  it('has no message larger than every server must take', () => {
    for (const stream of streams) expect(stream.maxMessageBytes).toBeLessThanOrEqual(minMaxPayloadBytes);
  });

  it('keeps a dead letter as long as the longest-kept message', () => {
    const age = (name: string) => streams.find((stream) => stream.name === name)?.maxAgeMs;
    expect(age('DEAD_LETTERS')).toBe(Math.max(...streams.map((stream) => stream.maxAgeMs)));
  });

  it.each(consumers)('$name reads subjects of its stream', ({ stream, filterSubject }) => {
    const subjects = streams.find(({ name }) => name === stream)?.subjects ?? [];
    expect(subjects.some((subject) => filterSubject.startsWith(subject.replace('>', '')))).toBe(true);
  });
});

import { beforeEach, describe, expect, it } from '@jest/globals';
import { FreshCache } from './fresh-cache.ts';

describe('FreshCache', () => {
  let clock: number;
  let source: Map<string, string>;
  let reads: string[][];
  let answer: () => Promise<void>;
  let cache: FreshCache<string>;

  beforeEach(() => {
    clock = 0;
    source = new Map([['a', 'apple']]);
    reads = [];
    answer = () => Promise.resolve();
    cache = new FreshCache({
      read: async (keys) => {
        reads.push(keys);
        const found = new Map([...source].filter(([key]) => keys.includes(key)));
        await answer();
        return found;
      },
      maxAgeMs: 2_000,
      refreshAfterMs: 1_000,
      maxEntries: 3,
      now: () => clock,
    });
  });

  it('reads once and answers at once after that', async () => {
    expect(await cache.lookup('a')).toBe('apple');
    expect(cache.lookup('a')).toBe('apple');
    expect(reads).toEqual([['a']]);
  });

  it('keeps what does not exist as well', async () => {
    expect(await cache.lookup('z')).toBeNull();
    expect(cache.lookup('z')).toBeNull();
    expect(reads).toHaveLength(1);
  });

  it('makes one read of lookups that come together', async () => {
    source.set('b', 'bread');
    const answers = await Promise.all([cache.lookup('a'), cache.lookup('b'), cache.lookup('a'), cache.lookup('z')]);
    expect(answers).toEqual(['apple', 'bread', 'apple', null]);
    expect(reads).toEqual([['a', 'b', 'z']]);
  });

  it('runs one read at a time, and the next takes all that came meanwhile', async () => {
    const gate = Promise.withResolvers<void>();
    answer = () => gate.promise;
    const first = cache.lookup('a');
    await Promise.resolve();
    const second = [cache.lookup('b'), cache.lookup('c')];
    await Promise.resolve();
    expect(reads).toEqual([['a']]);
    gate.resolve();
    await Promise.all([first, ...second]);
    expect(reads).toEqual([['a'], ['b', 'c']]);
  });

  it('answers from memory while it refreshes in the background, and has the new value then', async () => {
    await cache.lookup('a');
    source.set('a', 'apricot');
    clock = 1_000;
    expect(cache.lookup('a')).toBe('apple');
    await Promise.resolve();
    await new Promise(setImmediate);
    expect(cache.lookup('a')).toBe('apricot');
    expect(reads).toHaveLength(2);
  });

  it('answers nothing that is too old, whatever the source says', async () => {
    await cache.lookup('a');
    answer = () => Promise.reject(new Error('away'));
    clock = 1_999;
    expect(cache.lookup('a')).toBe('apple');
    await new Promise(setImmediate);
    clock = 2_000;
    await expect(cache.lookup('a')).rejects.toThrow('away');
    answer = () => Promise.resolve();
    expect(await cache.lookup('a')).toBe('apple');
  });

  it('counts the age from the start of the read', async () => {
    answer = () => Promise.resolve(void (clock += 1_500));
    await cache.lookup('a');
    clock += 500;
    expect(cache.lookup('a')).toBeInstanceOf(Promise);
  });

  it('forgets what was read longest ago when it is full', async () => {
    for (const key of ['a', 'b', 'c', 'd']) await cache.lookup(key);
    expect(cache.lookup('d')).toBeNull();
    expect(cache.lookup('a')).toBeInstanceOf(Promise);
  });

  it('forgets what was read long ago, and nothing else', async () => {
    source.set('b', 'bread');
    await cache.lookup('a');
    clock = 900;
    await cache.lookup('b');
    clock = 1_500;
    cache.forget(1_500);
    expect(cache.values()).toEqual(['bread']);
    expect([cache.peek('a'), cache.peek('b')]).toEqual([undefined, 'bread']);
    expect(cache.lookup('a')).toBeInstanceOf(Promise);
  });
});

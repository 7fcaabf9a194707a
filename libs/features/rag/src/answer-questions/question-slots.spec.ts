import { describe, expect, it } from '@jest/globals';
import { QuestionSlots } from './question-slots.ts';

const refused = { code: 'too_many_questions', kind: 'transient', retryAfterMs: 2_000 };

/** Takes slots and holds them until `end`. */
function hold(slots: QuestionSlots, workspaceId: string, count: number) {
  const gate = Promise.withResolvers<void>();
  const held = Array.from({ length: count }, () => slots.use(workspaceId, () => gate.promise));
  return async () => {
    gate.resolve();
    await Promise.all(held);
  };
}

describe('question slots', () => {
  it('one workspace cannot take them all, and others still get theirs', async () => {
    const slots = new QuestionSlots();
    const end = hold(slots, 'a', 8);
    await expect(slots.use('a', async () => 'late')).rejects.toMatchObject(refused);
    expect(await slots.use('b', async () => 'in time')).toBe('in time');
    await end();
    expect(await slots.use('a', async () => 'later')).toBe('later');
  });

  it('all of them together have a bound too', async () => {
    const slots = new QuestionSlots();
    const ends = [hold(slots, 'a', 8), hold(slots, 'b', 8)];
    await expect(slots.use('c', async () => 'late')).rejects.toMatchObject(refused);
    await Promise.all(ends.map((end) => end()));
    expect(await slots.use('c', async () => 'later')).toBe('later');
  });

  it('a question that fails gives its slot back', async () => {
    const slots = new QuestionSlots();
    const fail = () => slots.use('a', () => Promise.reject(new Error('failed')));
    for (let tries = 0; tries < 20; tries += 1) await expect(fail()).rejects.toThrow('failed');
  });
});

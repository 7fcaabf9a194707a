import { describe, expect, it } from '@jest/globals';
import { eventually } from './eventually.ts';

describe('eventually', () => {
  it('tries until nothing is thrown and gives back the value', async () => {
    let tries = 0;
    const value = await eventually(
      async () => {
        tries += 1;
        expect(tries).toBe(3);
        return 'bread';
      },
      { what: 'the third try' },
    );
    expect(value).toBe('bread');
  });

  it('takes false for not yet, and any other value for done', async () => {
    const answers = [false, false, 0];
    expect(await eventually(() => answers.shift() ?? false, { what: 'a number' })).toBe(0);
    expect(answers).toEqual([]);
  });

  it('names what was waited for, the tries and the last failure', async () => {
    const failure = await eventually(() => expect([]).toHaveLength(1), { timeoutMs: 60, what: 'one reply' }).catch(
      (error: unknown) => error as Error,
    );
    expect(failure).toBeInstanceOf(Error);
    const { message, cause, stack } = failure as Error;
    expect(message).toMatch(/^Waited 60 ms \(\d+ tries\) for: one reply\nLast: .*toHaveLength/s);
    expect(cause).toBeInstanceOf(Error);
    expect(stack).toContain('eventually.spec.ts');
  });

  it('says that it got false', async () => {
    await expect(eventually(() => false, { timeoutMs: 30, what: 'the door' })).rejects.toThrow(
      'Last: it returned false',
    );
  });

  it('does not wait for a try that hangs', async () => {
    const never = () => new Promise<void>(() => undefined);
    await expect(eventually(never, { timeoutMs: 30, what: 'the end' })).rejects.toThrow('the last try never came back');
  });
});

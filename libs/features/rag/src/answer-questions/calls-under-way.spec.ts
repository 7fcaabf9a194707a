import { EventEmitter } from 'node:events';
import { describe, expect, it } from '@jest/globals';
import { CallsUnderWay, type ServedCall } from './calls-under-way.ts';

const aCall = (): ServedCall & EventEmitter => Object.assign(new EventEmitter(), { cancelled: false });
const forEver = (): Promise<never> => new Promise(() => undefined);
const LONG_MS = 60_000;

describe('CallsUnderWay', () => {
  it('hands on what the work returns and throws', async () => {
    const calls = new CallsUnderWay();
    expect(await calls.serve(aCall(), LONG_MS, async () => 'done')).toBe('done');
    await expect(calls.serve(aCall(), LONG_MS, () => Promise.reject(new Error('odd')))).rejects.toThrow('odd');
  });

  it('ends work that does not listen, and tells work that does', async () => {
    const calls = new CallsUnderWay();
    let heard: unknown;
    const call = aCall();
    const served = calls.serve(call, LONG_MS, (signal) => {
      signal.addEventListener('abort', () => void (heard = signal.reason));
      return forEver();
    });
    call.emit('cancelled');
    await expect(served).rejects.toMatchObject({ code: 'call_cancelled' });
    expect(heard).toMatchObject({ code: 'call_cancelled' });
  });

  it('bounds a call whose caller gave no deadline', async () => {
    await expect(new CallsUnderWay().serve(aCall(), 20, forEver)).rejects.toMatchObject({
      kind: 'transient',
      code: 'call_timeout',
    });
  });

  it('does not begin for a caller who has gone already', async () => {
    let begun = false;
    const gone = Object.assign(aCall(), { cancelled: true });
    const served = new CallsUnderWay().serve(gone, LONG_MS, async () => void (begun = true));
    await expect(served).rejects.toMatchObject({ code: 'call_cancelled' });
    expect(begun).toBe(false);
  });

  it('waits at a stop for what is under way, refuses what is new, and ends what takes too long', async () => {
    const patient = new CallsUnderWay(LONG_MS);
    const gate = Promise.withResolvers<string>();
    const served = patient.serve(aCall(), LONG_MS, () => gate.promise);
    const stopped = patient.beforeApplicationShutdown();
    await expect(patient.serve(aCall(), LONG_MS, forEver)).rejects.toMatchObject({ code: 'stopping' });
    gate.resolve('done');
    expect(await served).toBe('done');
    await stopped;

    const hasty = new CallsUnderWay(20);
    const cut = hasty.serve(aCall(), LONG_MS, forEver);
    void hasty.beforeApplicationShutdown();
    await expect(cut).rejects.toMatchObject({ kind: 'transient', code: 'stopping', retryAfterMs: 1_000 });
  });

  it('listens to no call that has ended', async () => {
    const call = aCall();
    await new CallsUnderWay().serve(call, LONG_MS, async () => undefined);
    expect(call.listenerCount('cancelled')).toBe(0);
  });
});

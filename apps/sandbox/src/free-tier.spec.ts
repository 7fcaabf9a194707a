import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { FreeTier } from './free-tier.ts';
import { trySandbox, until, type TriedSandbox } from './try-sandbox.ts';

describe('the free tier', () => {
  it('is 1,000 messages a number and month', () => {
    const tier = new FreeTier();
    const november = Date.UTC(2026, 10, 30, 23, 59, 59);
    const types = Array.from({ length: 1001 }, () => tier.take('a', november, false, 1000).type);
    expect([types[0], types[999], types[1000]]).toEqual(['free_customer_service', 'free_customer_service', 'regular']);
    expect(tier.take('b', november, false, 1000).type).toBe('free_customer_service');
    expect(tier.take('a', november + 1000, false, 1000).type).toBe('free_customer_service');
  });

  it('is not used up by what is free anyway', () => {
    const tier = new FreeTier();
    expect(tier.take('a', 0, true, 1)).toEqual({
      billable: false,
      pricing_model: 'PMP',
      category: 'service',
      type: 'free_entry_point',
    });
    expect(tier.take('a', 0, false, 1)).toMatchObject({ billable: false, type: 'free_customer_service' });
    expect(tier.take('a', 0, false, 1)).toMatchObject({ billable: true, type: 'regular' });
  });
});

describe('statuses', () => {
  let sandbox: TriedSandbox;

  beforeEach(async () => {
    sandbox = await trySandbox();
    const { phoneNumberId, ...settings } = sandbox.number;
    const callback = { callbackUrl: `${sandbox.businessUrl}/hook`, verifyToken: 'verify-me' };
    await sandbox.control('PUT', `/numbers/${phoneNumberId}`, { ...settings, ...callback });
    await sandbox.control('PUT', '/limits', { freeDeliveriesPerMonth: 1 });
    await sandbox.control('PUT', '/delivery', { autoRead: true, statusDelaysMs: { sent: 1, delivered: 2, read: 3 } });
  });
  afterEach(() => sandbox.close());

  const statuses = () =>
    sandbox.received.flatMap(({ body }) => body.entry.flatMap((e) => e.changes.flatMap((c) => c.value.statuses ?? [])));
  /** Sends one message and gives its pricing by status. */
  const priced = async () => {
    const before = statuses().length;
    await sandbox.sendText('+12025550101');
    await until('three statuses', () => statuses().length === before + 3);
    const entries = statuses()
      .slice(before)
      .map(({ status, pricing }): [string, unknown] => [String(status), pricing]);
    return Object.fromEntries(entries);
  };

  it('carry the price with sent and delivered: free at first, then regular', async () => {
    await sandbox.control('POST', '/messages', {
      phoneNumberId: sandbox.number.phoneNumberId,
      contactId: 'customer-a',
    });
    const free = { billable: false, pricing_model: 'PMP', category: 'service', type: 'free_customer_service' };
    expect(await priced()).toEqual({ sent: free, delivered: free, read: undefined });
    const regular = { billable: true, pricing_model: 'PMP', category: 'service', type: 'regular' };
    expect(await priced()).toEqual({ sent: regular, delivered: regular, read: undefined });
  });

  it('are free for who came by an ad', async () => {
    const { phoneNumberId } = sandbox.number;
    const extra = { referral: { source_type: 'ad', source_id: '1', source_url: 'https://fb.me/1' } };
    await sandbox.control('POST', '/messages', { phoneNumberId, contactId: 'customer-a', extra });
    expect(await priced()).toMatchObject({ delivered: { billable: false, type: 'free_entry_point' } });
    sandbox.clock.nowMs += 259_200_001;
    await sandbox.control('POST', '/messages', { phoneNumberId, contactId: 'customer-a' });
    expect(await priced()).toMatchObject({ delivered: { type: 'free_customer_service' } });
  });
});

import { describe, expect, it } from '@jest/globals';
import {
  classifyGraphError,
  GRAPH_ERRORS,
  retryDelayMs,
  type GraphErrorClass,
  type GraphRetry,
} from './graph-errors.ts';

// Written from Meta's page by itself, so that a slip in the table shows.
const expected: readonly [GraphErrorClass, GraphRetry, readonly number[]][] = [
  ['auth', 'after_reconnect', [0, 104, 190]],
  ['permission', 'after_reconnect', [3, 10, 33, 200, 230, 299, 803, 131005]],
  ['account', 'after_reconnect', [368, 131031, 131037, 131042, 131045, 131048, 131063, 133006, 133010, 134011]],
  ['account', 'never', [130497, 131064]],
  ['retry', 'backoff', [1, 2, 4, 17, 32, 613, 80007, 130429, 131000, 131016, 131057, 133004, 2494100]],
  ['retry_pair', 'pair', [131056]],
  ['window', 'never', [131047]],
  ['recipient', 'never', [130403, 130472, 131021, 131026, 131030, 131049, 131050, 131062, 137000]],
  [
    'request',
    'never',
    [
      100, 131008, 131009, 131051, 131055, 132000, 132001, 132005, 132007, 132008, 132012, 132015, 132016, 132018,
      132068, 132069, 135000,
    ],
  ],
  ['media', 'never', [131052, 131053]],
  ['registration', 'never', [133000, 133005, 133008, 133009, 133015, 133016]],
];
const rows = expected.flatMap(([class_, retry, codes]) => codes.map((code) => ({ code, class: class_, retry })));

describe('classifyGraphError', () => {
  it.each(rows)('$code is $class, retry $retry', ({ code, ...meaning }) => {
    expect(classifyGraphError({ code })).toMatchObject({ code, ...meaning });
  });

  it.each([
    [190, 458, 'auth', 'app_removed'],
    [190, 460, 'auth', 'token_password_changed'],
    [190, 463, 'auth', 'token_expired'],
    [190, 467, 'auth', 'token_invalid'],
    [190, 999, 'auth', 'token_invalid'],
    [100, 33, 'permission', 'phone_number_not_accessible'],
    [100, 34, 'request', 'parameter_invalid'],
    [130429, 2494055, 'retry', 'throughput_reached'],
    [131000, 2494100, 'retry', 'account_in_maintenance'],
  ] as const)('%d with subcode %d is %s, %s', (code, subcode, class_, reason) => {
    expect(classifyGraphError({ code, subcode })).toMatchObject({ code, subcode, class: class_, reason });
  });

  it('has a test for every row of the table, and no row twice', () => {
    const tested = new Set(rows.map(({ code }) => code));
    const keys = GRAPH_ERRORS.map((row) => `${row.code}/${row.subcode ?? ''}`);

    expect(GRAPH_ERRORS.filter((row) => !tested.has(row.code))).toEqual([]);
    expect(new Set(keys).size).toBe(keys.length);
    for (const row of GRAPH_ERRORS) {
      expect(row.reason).toMatch(/^[a-z]+(_[a-z]+)*$/);
      expect(row.pace !== undefined).toBe(row.retry === 'backoff' || row.retry === 'pair');
    }
  });

  it('takes the code out of an answer', () => {
    const body = { error: { message: 'x', code: 190, error_subcode: 463, fbtrace_id: 'x' } };

    expect(classifyGraphError({ status: 401, body })).toMatchObject({
      class: 'auth',
      code: 190,
      reason: 'token_expired',
    });
  });

  it.each([
    ['no body', undefined],
    ['HTML', '<html>'],
    ['other JSON', { message: 'bad gateway' }],
    ['an error without a code', { error: { message: 'x' } }],
    ['an error that is a word', { error: 'x' }],
  ])('says nothing of a 5xx with %s: the message may have been sent', (_name, body) => {
    expect(classifyGraphError({ status: 502, body })).toBeUndefined();
  });

  it.each([
    ['a code that is not in the table', 400, { code: 999_999 }, 'request', 'graph_error_not_in_table'],
    ['the same, transient', 400, { code: 999_999, is_transient: true }, 'retry', 'graph_transient_error'],
    ['the same in a 5xx', 500, { code: 999_999 }, 'retry', 'graph_transient_error'],
    ['the same in a 429', 429, { code: 999_999 }, 'retry', 'graph_transient_error'],
    [
      'a parameter error that Meta calls transient',
      400,
      { code: 100, is_transient: true },
      'retry',
      'graph_transient_error',
    ],
    ['a dead token in a 5xx', 500, { code: 190 }, 'auth', 'token_invalid'],
    ['the closed window in a 5xx', 500, { code: 131047 }, 'window', 'window_closed'],
    ['a code written as a string', 400, { code: '131026' }, 'recipient', 'recipient_unreachable'],
  ])('%s', (_name, status, error, class_, reason) => {
    expect(classifyGraphError({ status, body: { error } })).toMatchObject({ class: class_, reason });
  });
});

describe('retryDelayMs', () => {
  const noJitter = () => 0;
  const delays = (code: number, tries: readonly number[]) =>
    tries.map((count) => retryDelayMs(classifyGraphError({ code }), count, noJitter));

  it('waits 4^X seconds for a pair, as Meta asks', () => {
    expect(delays(131056, [1, 2, 3, 4, 5, 6])).toEqual([1_000, 4_000, 16_000, 64_000, 256_000, 256_000]);
  });

  it('doubles up to a minute, tries an unknown error few times, waits for quotas in minutes', () => {
    expect(delays(131016, [1, 2, 7, 100])).toEqual([1_000, 2_000, 60_000, 60_000]);
    expect(delays(131000, [1, 2, 3, 4])).toEqual([2_000, 8_000, 32_000, undefined]);
    expect(delays(80007, [1, 5])).toEqual([30_000, 240_000]);
  });

  it('has no delay for what is not tried again by itself', () => {
    expect(delays(131047, [1])).toEqual([undefined]);
    expect(delays(190, [1])).toEqual([undefined]);
  });

  it('adds jitter, and waits at least as long as Meta asks', () => {
    const failure = classifyGraphError({ code: 2 });

    expect(retryDelayMs(failure, 1, () => 0.99)).toBe(1_248);
    expect(retryDelayMs({ ...failure, retryAfterMs: 7_000 }, 1, noJitter)).toBe(7_000);
  });
});

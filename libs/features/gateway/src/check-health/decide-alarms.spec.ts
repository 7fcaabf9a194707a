import { describe, expect, it } from '@jest/globals';
import { decideAlarms, type AlarmFacts } from './decide-alarms.ts';

const DAY = 24 * 60 * 60 * 1_000;
const NOW = Date.parse('2026-11-20T12:00:00Z');
const well: AlarmFacts = { alarmed: [], refused: [], isConclusive: true, tokenExpiresAt: null };

/** The alarms of one check after the other, each with what the one before remembered. */
function alarmsOf(checks: readonly (Partial<AlarmFacts> & { at?: number })[]): (string | number | null)[][][] {
  let alarmed: readonly string[] = [];
  return checks.map(({ at = NOW, ...facts }) => {
    const decided = decideAlarms({ ...well, ...facts, alarmed }, at);
    alarmed = decided.alarmed;
    return decided.alarms.map(({ code, daysLeft }) => [code, daysLeft]);
  });
}

describe('alarms', () => {
  it('are raised once for a refusal, and again when it comes back', () => {
    const refused = { refused: ['token_invalid'] };
    expect(alarmsOf([refused, refused, {}, refused])).toEqual([
      [['token_invalid', null]],
      [],
      [],
      [['token_invalid', null]],
    ]);
  });

  it('are not raised anew after Meta could not be asked in between', () => {
    const refused = { refused: ['token_invalid'] };
    expect(alarmsOf([refused, { isConclusive: false }, refused])).toEqual([[['token_invalid', null]], [], []]);
  });

  it('are raised for each cause', () => {
    expect(alarmsOf([{ refused: ['token_invalid'] }, { refused: ['token_expired'] }])).toEqual([
      [['token_invalid', null]],
      [['token_expired', null]],
    ]);
  });

  it('come 14, 7 and 1 days before an expiry, also while Meta cannot be asked', () => {
    const tokenExpiresAt = NOW + 20 * DAY;
    const check = (day: number) => ({ at: NOW + day * DAY, tokenExpiresAt, isConclusive: false });
    const days = Array.from({ length: 22 }, (_, day) => day);
    const raised = alarmsOf(days.map(check)).map((alarms, day) => [day, ...alarms]);
    expect(raised.filter(([, alarm]) => alarm !== undefined)).toEqual([
      [6, ['token_expiring', 14]],
      [13, ['token_expiring', 7]],
      [19, ['token_expiring', 1]],
    ]);
  });

  it('name the days that are left when checks were missed, and begin anew with another token', () => {
    expect(
      alarmsOf([
        { tokenExpiresAt: NOW + 5 * DAY },
        { tokenExpiresAt: NOW + 5 * DAY },
        { tokenExpiresAt: NOW + 60 * DAY },
        { tokenExpiresAt: NOW + 60 * DAY, at: NOW + 46 * DAY },
      ]),
    ).toEqual([[['token_expiring', 5]], [], [], [['token_expiring', 14]]]);
  });
});

import { describe, expect, it } from '@jest/globals';
import { type BusinessHours } from '@answerline/contracts';
import { sayWhenHumansAre } from './business-hours.ts';

const hours: BusinessHours = {
  timeZone: 'Europe/Madrid',
  days: {
    monday: [
      { from: '09:00', to: '14:00' },
      { from: '16:00', to: '18:30' },
    ],
    tuesday: [
      { from: '09:00', to: '12:00' },
      { from: '12:00', to: '17:00' },
    ],
    friday: [{ from: '20:00', to: '24:00' }],
    saturday: [{ from: '00:00', to: '02:00' }],
  },
};
/** Winter: Madrid is one hour ahead of UTC. 2026-11-23 is a Monday. */
const at = (day: number, time: string): number => Date.parse(`2026-11-${String(day)}T${time}:00+01:00`);

describe('when humans are there', () => {
  it.each<[string, number, string | undefined]>([
    ['before the first hours', at(23, '08:59'), 'today from 09:00'],
    ['in the first minute', at(23, '09:00'), 'until 14:00'],
    ['in the last minute', at(23, '13:59'), 'until 14:00'],
    ['at the end', at(23, '14:00'), 'today from 16:00'],
    ['between hours that meet', at(24, '10:00'), 'until 17:00'],
    ['after the last hours of a day', at(23, '18:30'), 'tomorrow from 09:00'],
    ['days before', at(24, '17:00'), 'on Friday from 20:00'],
    ['while they go on over midnight', at(27, '23:00'), undefined],
    ['after midnight', at(28, '01:00'), 'until 02:00'],
    ['at the end of the week', at(28, '02:00'), 'on Monday from 09:00'],
  ])('%s', (_when, now, said) => {
    const sentence = sayWhenHumansAre(hours, now, 'en');
    if (said === undefined) expect(sentence).toBeUndefined();
    else expect(sentence).toContain(` ${said}.`);
  });

  it('a week later, if there is one day only', () => {
    const sundays = { timeZone: 'UTC', days: { sunday: [{ from: '10:00', to: '11:00' }] } };
    expect(sayWhenHumansAre(sundays, Date.UTC(2026, 10, 22, 11), 'en')).toContain('on Sunday from 10:00');
  });

  it('by the clock on the wall, also when summer time begins', () => {
    const days = { sunday: [{ from: '01:30', to: '04:00' }] };
    // 2026-03-29: at 02:00 it becomes 03:00.
    const before = Date.parse('2026-03-29T01:59:00+01:00');
    expect(sayWhenHumansAre({ timeZone: 'Europe/Madrid', days }, before, 'en')).toContain('until 04:00');
    expect(sayWhenHumansAre({ timeZone: 'Europe/Madrid', days }, before + 60_000, 'en')).toContain('until 04:00');
  });

  it.each([
    [at(23, '08:00'), 'hoy a partir de las 09:00'],
    [at(23, '19:00'), 'mañana a partir de las 09:00'],
    [at(25, '08:00'), 'el viernes a partir de las 20:00'],
    [at(23, '10:00'), 'hasta las 14:00'],
  ])('in Spanish', (now, said) => expect(sayWhenHumansAre(hours, now, 'es')).toContain(said));
});

import { weekdays, type BusinessHours, type Weekday } from '@answerline/contracts';
import { type TextLanguage } from './texts.ts';

interface Opening {
  readonly from: string;
  readonly to: string;
}

/** When humans are next there, or until when they are, by the clock of the business. */
export type Presence =
  | { readonly isOpen: true; /** Null: not before tomorrow. */ readonly until: string | null }
  | { readonly isOpen: false; readonly inDays: number; readonly day: Weekday; readonly from: string };

const END_OF_DAY = '24:00';

/** Pure. `now` in ms; only the clock on the wall is looked at, so that a change to summer time needs no arithmetic. */
export function presenceAt({ timeZone, days }: BusinessHours, now: number): Presence | undefined {
  const { place, time } = wallClock(timeZone, now);
  const openingsIn = (inDays: number): readonly Opening[] => days[dayAt(place + inDays)] ?? [];
  const current = openingsIn(0).find(({ from, to }) => from <= time && time < to);
  if (current) {
    // Two that meet are one.
    const until = openingsIn(0).reduce((end, { from, to }) => (from === end ? to : end), current.to);
    return { isOpen: true, until: until === END_OF_DAY ? null : until };
  }
  for (let inDays = 0; inDays <= weekdays.length; inDays += 1) {
    const next = openingsIn(inDays).find(({ from }) => inDays > 0 || from > time);
    if (next) return { isOpen: false, inDays, day: dayAt(place + inDays), from: next.from };
  }
  return undefined;
}

/** A sentence about when a human will be there, for who has asked for one; undefined when there is nothing to say. Pure. */
export function sayWhenHumansAre(hours: BusinessHours, now: number, language: TextLanguage): string | undefined {
  const presence = presenceAt(hours, now);
  if (presence === undefined) return undefined;
  const words = sentences[language];
  if (presence.isOpen) return presence.until === null ? undefined : words.open(presence.until);
  return words.closed(words.day(presence.inDays, presence.day), presence.from);
}

interface Sentences {
  open(until: string): string;
  closed(day: string, from: string): string;
  day(inDays: number, day: Weekday): string;
}

const sentences: Readonly<Record<TextLanguage, Sentences>> = {
  en: {
    open: (until) => `Our team is here until ${until}.`,
    closed: (day, from) => `Our team is not here right now. Somebody will answer you ${day} from ${from}.`,
    day: (inDays, day) => ['today', 'tomorrow'][inDays] ?? `on ${day.charAt(0).toUpperCase()}${day.slice(1)}`,
  },
  es: {
    open: (until) => `Nuestro equipo está hasta las ${until}.`,
    closed: (day, from) =>
      `Ahora mismo no hay nadie de nuestro equipo. Le responderemos ${day} a partir de las ${from}.`,
    day: (inDays, day) => ['hoy', 'mañana'][inDays] ?? `el ${spanishDays[day]}`,
  },
};

const spanishDays: Readonly<Record<Weekday, string>> = {
  monday: 'lunes',
  tuesday: 'martes',
  wednesday: 'miércoles',
  thursday: 'jueves',
  friday: 'viernes',
  saturday: 'sábado',
  sunday: 'domingo',
};

/** The day of the week, from 0 for Monday, and the time as `HH:MM`. */
function wallClock(timeZone: string, now: number): { place: number; time: string } {
  const format = new Intl.DateTimeFormat('en-GB', {
    timeZone,
    weekday: 'long',
    hour: '2-digit',
    minute: '2-digit',
    hourCycle: 'h23',
  });
  const parts = new Map(format.formatToParts(now).map(({ type, value }) => [type, value]));
  const day = weekdays.findIndex((weekday) => weekday === parts.get('weekday')?.toLowerCase());
  return { place: day, time: `${parts.get('hour') ?? ''}:${parts.get('minute') ?? ''}` };
}

function dayAt(place: number): Weekday {
  return weekdays[place % weekdays.length] ?? 'monday';
}

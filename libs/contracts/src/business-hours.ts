import * as z from 'zod';

/** An IANA time zone that this runtime knows. */
export const timeZoneSchema = z.string().refine(isTimeZone, 'An IANA time zone such as Europe/Madrid.');

/** Monday first, as in ISO 8601. */
export const weekdays = ['monday', 'tuesday', 'wednesday', 'thursday', 'friday', 'saturday', 'sunday'] as const;
export type Weekday = (typeof weekdays)[number];

const openingSchema = z
  .strictObject({
    from: z.string().regex(/^([01]\d|2[0-3]):[0-5]\d$/, 'A time such as 09:00.'),
    to: z.string().regex(/^(([01]\d|2[0-3]):[0-5]\d|24:00)$/, 'A time such as 18:30, at most 24:00.'),
  })
  .refine(({ from, to }) => from < to, {
    path: ['to'],
    error: 'After the beginning. Over midnight: until 24:00, and on from 00:00.',
  });

/** When humans are there, by the clock of a time zone. */
export const businessHoursSchema = z.strictObject({
  timeZone: timeZoneSchema.describe('IANA time zone of the times'),
  days: z
    .partialRecord(
      z.enum(weekdays),
      z.array(openingSchema).max(5).refine(inOrder, 'One after the other, without overlap.'),
    )
    .refine((days) => Object.values(days).some((openings) => openings.length > 0), 'At least one day with hours.')
    .describe('Weekdays and their hours; a day without hours is left out'),
});
export type BusinessHours = z.infer<typeof businessHoursSchema>;

function inOrder(openings: readonly { readonly from: string; readonly to: string }[]): boolean {
  return openings.every(({ from }, place) => place === 0 || (openings[place - 1]?.to ?? '') <= from);
}

function isTimeZone(value: string): boolean {
  try {
    new Intl.DateTimeFormat('en', { timeZone: value });
    return true;
  } catch {
    return false;
  }
}

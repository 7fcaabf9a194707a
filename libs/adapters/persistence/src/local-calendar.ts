/**
 * A subquery of one row: where an instant stands in the calendar of a time zone. `month` is as 2026-11, `day` as 2026-11-22; the
 * others are timestamptz, and `month_ends_at` is no longer in the month.
 *
 * @param instant SQL of a timestamptz
 * @param zone SQL of an IANA name
 */
export function localCalendar(instant: string, zone: string): string {
  const local = `(${instant} AT TIME ZONE ${zone})`;
  const began = (unit: 'day' | 'month'): string => `date_trunc('${unit}', ${local})`;
  return `(SELECT to_char(${local}, 'YYYY-MM') AS month, to_char(${local}, 'YYYY-MM-DD') AS day,
                  ${began('day')} AT TIME ZONE ${zone} AS day_started_at,
                  ${began('month')} AT TIME ZONE ${zone} AS month_started_at,
                  (${began('month')} + interval '1 month') AT TIME ZONE ${zone} AS month_ends_at)`;
}

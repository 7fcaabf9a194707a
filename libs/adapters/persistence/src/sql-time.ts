/** Milliseconds of a timestamptz column, as a number. */
export const ms = (column: string): string => `(extract(epoch FROM ${column}) * 1000)::float8`;
/** A timestamptz of milliseconds given as float8. */
export const timestamp = (value: string): string => `to_timestamp(${value} / 1000)`;

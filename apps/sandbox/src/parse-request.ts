import { InvalidInput } from '@answerline/errors';
import { z } from 'zod';

/** @throws InvalidInput invalid_request, saying what is wrong */
export function parseRequest<Schema extends z.ZodType>(schema: Schema, value: unknown): z.output<Schema> {
  const parsed = schema.safeParse(value);
  if (parsed.success) return parsed.data;
  throw new InvalidInput('invalid_request', z.prettifyError(parsed.error));
}

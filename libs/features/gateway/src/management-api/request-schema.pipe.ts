import { type ArgumentMetadata, type PipeTransform } from '@nestjs/common';
import { notFound, validationFailed } from './api-errors.ts';

/**
 * Checks what a route takes against the schema beside its parameter, as in `@Body({ schema })`, and hands on what the schema
 * returns. 422 names the fields; an id in the path that cannot be one is 404, as it names nothing.
 */
export class RequestSchemaPipe implements PipeTransform {
  async transform(value: unknown, { type, schema }: ArgumentMetadata): Promise<unknown> {
    if (!schema) return value;
    const result = await schema['~standard'].validate(value);
    if (!result.issues) {
      const path = pathOfNul(result.value);
      if (path !== null) throw validationFailed([{ path, message: 'The character U+0000 cannot be stored.' }]);
      return result.value;
    }
    if (type === 'param') throw notFound();
    throw validationFailed(
      result.issues.map(({ path = [], message }) => ({
        path: path.map((segment) => String(typeof segment === 'object' ? segment.key : segment)).join('.'),
        message,
      })),
    );
  }
}

/** Where a text holds U+0000, which Postgres takes in no text; null when none does. */
function pathOfNul(value: unknown): string | null {
  if (typeof value === 'string') return value.includes('\u0000') ? '' : null;
  if (typeof value !== 'object' || value === null) return null;
  for (const [field, inner] of Object.entries(value)) {
    const path = pathOfNul(inner);
    if (path !== null) return path === '' ? field : `${field}.${path}`;
  }
  return null;
}

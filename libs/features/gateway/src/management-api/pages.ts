import { pageQuerySchema } from '@answerline/contracts';
import * as z from 'zod';
import { validationFailed } from './api-errors.ts';

export type PageQuery = z.infer<typeof pageQuerySchema>;

/** The page of a list that goes by id, newest first: its cursor is the last id of the page before. */
export const idPageQuerySchema = pageQuerySchema.extend({
  cursor: z.uuid('This is no cursor of this list.').optional().describe('The nextCursor of the page before'),
});

/** Cuts a list that was read with one row more than the page has. `cursorOf` makes the cursor of the page's last item. */
export function pageFrom<Row>(
  rows: Row[],
  limit: number,
  cursorOf: (last: Row) => string,
): { items: Row[]; nextCursor: string | null } {
  const items = rows.slice(0, limit);
  const last = items.at(-1);
  return { items, nextCursor: rows.length > limit && last !== undefined ? cursorOf(last) : null };
}

/** A cursor that holds more than an id. It is no secret: it only has to fit into an address. */
export function encodeCursor(position: readonly unknown[]): string {
  return Buffer.from(JSON.stringify(position)).toString('base64url');
}

/** Throws 422 `validation_failed` for anything that {@link encodeCursor} did not make for this list. */
export function decodeCursor<Position extends z.ZodType>(cursor: string, schema: Position): z.infer<Position> {
  const parsed = schema.safeParse(jsonOrNull(Buffer.from(cursor, 'base64url').toString()));
  if (!parsed.success) throw validationFailed([{ path: 'cursor', message: 'This is no cursor of this list.' }]);
  return parsed.data;
}

function jsonOrNull(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return null;
  }
}

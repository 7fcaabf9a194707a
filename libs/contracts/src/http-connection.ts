import * as z from 'zod';

/**
 * `warning`: it works, and something should be done. `not_checked`: nothing is known, because the token may not read it or an
 * earlier check failed; that alone calls nothing broken.
 */
export const connectionCheckSchema = z.object({
  check: z.string().describe('What was looked at'),
  status: z.enum(['ok', 'warning', 'failed', 'not_checked']),
  code: z.string().optional().describe('Why it is not ok; stable'),
  message: z.string().describe('What is so'),
  action: z.string().nullable().describe('What to do about it'),
});

/**
 * What to do about a callback that is not ours. `replace`: the Meta app delivers here from now on. `number_override`: this
 * number delivers here, and whatever else the app has stays where it is.
 */
export const callbackChoiceSchema = z.enum(['replace', 'number_override']);

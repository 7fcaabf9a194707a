import { z } from 'zod';
import type { Callback } from './account-schemas.ts';
import { badParameter, GraphRefused } from './graph-call.ts';
import { refusal } from './graph-error.ts';
import type { Meta } from './meta.ts';

/** Longest URL of an override (Meta, "Webhook overrides"). */
const maxOverrideLength = 200;

const overrideSchema = z.looseObject({
  override_callback_uri: z.string().optional(),
  verify_token: z.string().optional(),
});

/**
 * The override in a call: null where an empty URL takes it away, undefined where the call has none.
 *
 * @throws GraphRefused 100 for a URL or verify token that cannot be one
 */
export function givenCallback(parameters: unknown): Callback | null | undefined {
  const parsed = overrideSchema.safeParse(parameters);
  const callbackUrl = parsed.data?.override_callback_uri;
  if (callbackUrl === undefined) return undefined;
  if (callbackUrl === '') return null;
  if (callbackUrl.length > maxOverrideLength) {
    const text = `Param override_callback_uri must be at most ${maxOverrideLength} characters long.`;
    throw new GraphRefused(badParameter(text));
  }
  return checkedCallback('override_callback_uri', callbackUrl, parsed.data?.verify_token);
}

/** @throws GraphRefused 100 for a URL or verify token that cannot be one. Meta takes https only. */
export function checkedCallback(name: string, callbackUrl: unknown, verifyToken: unknown): Callback {
  if (typeof callbackUrl !== 'string' || !/^https?:$/.test(URL.parse(callbackUrl)?.protocol ?? '')) {
    throw new GraphRefused(badParameter(`Param ${name} must be a valid URI.`));
  }
  if (typeof verifyToken !== 'string' || verifyToken === '') {
    throw new GraphRefused(badParameter('The parameter verify_token is required.'));
  }
  return { callbackUrl, verifyToken };
}

/** Makes the verification GET. @throws GraphRefused 2200 when it is not answered with 200 and the challenge */
export async function verifyCallback(meta: Meta, callback: Callback): Promise<void> {
  const { verified, status, reason } = await meta.delivery.verify(callback);
  if (verified) return;
  const trouble =
    status === null ? `no answer (${reason ?? 'unknown'})` : `HTTP Status Code = ${status}; ${reason ?? ''}`;
  throw new GraphRefused(
    refusal(2200, { message: `(#2200) Callback verification failed with the following errors: ${trouble}` }),
  );
}

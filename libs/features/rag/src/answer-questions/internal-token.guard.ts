import { type Secret } from '@answerline/config';
import { InvalidInput } from '@answerline/errors';
import { hashApiKey, safeEqual } from '@answerline/secrets';
import { type CanActivate, type ExecutionContext, Inject, Injectable } from '@nestjs/common';
import { type Metadata } from '@grpc/grpc-js';

/** Nest token of the INTERNAL_TOKEN that callers must show. */
export const EXPECTED_TOKEN = Symbol('ExpectedToken');

/** `authorization: Bearer <INTERNAL_TOKEN>` on every call, else `token_missing` or `token_invalid` (401). */
@Injectable()
export class InternalTokenGuard implements CanActivate {
  readonly #expected: string;

  constructor(@Inject(EXPECTED_TOKEN) expected: Secret) {
    this.#expected = hashApiKey(expected.reveal());
  }

  canActivate(context: ExecutionContext): boolean {
    const [header] = context.switchToRpc().getContext<Metadata>().get('authorization');
    const token = /^Bearer +(\S+) *$/i.exec(String(header ?? ''))?.[1];
    if (token === undefined) throw refused('token_missing', 'Send INTERNAL_TOKEN as authorization: Bearer.');
    // Hashed first, so that not even the length shows in the time it takes.
    if (!safeEqual(hashApiKey(token), this.#expected))
      throw refused('token_invalid', 'This is not the INTERNAL_TOKEN.');
    return true;
  }
}

function refused(code: string, message: string): InvalidInput {
  return new InvalidInput(code, message, { httpStatus: 401 });
}

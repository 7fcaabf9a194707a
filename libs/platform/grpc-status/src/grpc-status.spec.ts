import { InvalidInput, toAppError, Transient, Unexpected } from '@answerline/errors';
import { describe, expect, it } from '@jest/globals';
import { Metadata, status } from '@grpc/grpc-js';
import { errorOfStatus, InvalidFields, statusOfError, type GrpcStatus } from './grpc-status.ts';

describe('statusOfError and errorOfStatus', () => {
  it.each<[string, unknown, status, object]>([
    ['a wrong request', new InvalidInput('x_wrong', 'No.'), status.INVALID_ARGUMENT, { httpStatus: 422 }],
    [
      'a missing thing',
      new InvalidInput('x_not_found', 'No.', { httpStatus: 404 }),
      status.NOT_FOUND,
      { httpStatus: 404 },
    ],
    [
      'a missing token',
      new InvalidInput('x_token', 'No.', { httpStatus: 401 }),
      status.UNAUTHENTICATED,
      { httpStatus: 401 },
    ],
    [
      'what is not allowed',
      new InvalidInput('x_scope', 'No.', { httpStatus: 403 }),
      status.PERMISSION_DENIED,
      { httpStatus: 403 },
    ],
    [
      'a wrong state',
      new InvalidInput('x_state', 'No.', { httpStatus: 409 }),
      status.FAILED_PRECONDITION,
      { httpStatus: 409 },
    ],
    [
      'wrong fields',
      new InvalidFields([{ path: 'history.0.text', message: 'Too long' }]),
      status.INVALID_ARGUMENT,
      { httpStatus: 422, fields: [{ path: 'history.0.text', message: 'Too long' }] },
    ],
    ['what is away', new Transient('x_away', 'Away.'), status.UNAVAILABLE, { retryAfterMs: undefined }],
    [
      'what says when to come back',
      new Transient('x_busy', 'Busy.', { retryAfterMs: 1_500 }),
      status.UNAVAILABLE,
      { retryAfterMs: 1_500 },
    ],
    ['an unknown throw', new Error('secret'), status.INTERNAL, {}],
  ])('carry %s to the other side and back', (_what, thrown, code, rest) => {
    const sent = statusOfError(thrown);
    const error = toAppError(thrown);
    expect(sent.code).toBe(code);
    const back = errorOfStatus(sent);
    expect(back).toMatchObject({ kind: error.kind, code: error.code, message: error.message, ...rest });
  });

  it('explain nothing of a fault of ours', () => {
    const sent = statusOfError(
      new Unexpected('index_version_invalid', 'Version 7 of chatbot x', { context: { a: 1 } }),
    );
    expect(errorOfStatus(sent)).toMatchObject({ code: 'internal_error', message: 'Something went wrong on our side.' });
    const [bytes] = sent.metadata.get('grpc-status-details-bin');
    expect(String(bytes)).not.toMatch(/index_version|Version 7/);
  });

  it("write google.rpc.Status with Google's bytes", () => {
    // google.rpc.Status{code: 14, message: "m", details: [Any{ErrorInfo{reason: "r", domain: "answerline"}}]}
    const url = 'type.googleapis.com/google.rpc.ErrorInfo';
    const info = Buffer.concat([
      Buffer.from([10, 1]),
      Buffer.from('r'),
      Buffer.from([18, 10]),
      Buffer.from('answerline'),
    ]);
    const any = Buffer.concat([Buffer.from([10, url.length]), Buffer.from(url), Buffer.from([18, info.length]), info]);
    const bytes = Buffer.concat([Buffer.from([8, 14, 18, 1]), Buffer.from('m'), Buffer.from([26, any.length]), any]);
    expect(statusOfError(new Transient('r', 'm')).metadata.get('grpc-status-details-bin')).toEqual([bytes]);
  });

  it.each<[string, Buffer | undefined]>([
    ['no details', undefined],
    ['bytes that are no details', Buffer.from([255, 255, 255])],
    ['an empty status', Buffer.alloc(0)],
  ])('make no error of ours out of %s', (_what, bytes) => {
    const metadata = new Metadata();
    if (bytes) metadata.set('grpc-status-details-bin', bytes);
    expect(errorOfStatus({ code: status.UNAVAILABLE, details: 'No connection', metadata })).toBeUndefined();
  });

  it('bound the pause that the other side asks for', () => {
    const asked = (retryAfterMs: number): GrpcStatus => statusOfError(new Transient('x', 'y', { retryAfterMs }));
    expect(errorOfStatus(asked(10 ** 12))).toMatchObject({ retryAfterMs: 600_000 });
    expect(errorOfStatus(asked(0))).toMatchObject({ retryAfterMs: 0 });
  });
});

import { describe, expect, it } from '@jest/globals';
import { toSmtpError } from './smtp-errors.ts';

describe('an error of SMTP', () => {
  it.each<[string, object, 'transient' | 'invalid_input', string]>([
    ['a refused connection', { code: 'ESOCKET', command: 'CONN' }, 'transient', 'smtp_unreachable'],
    ['no such name', { code: 'EDNS' }, 'transient', 'smtp_unreachable'],
    ['silence', { code: 'ETIMEDOUT' }, 'transient', 'smtp_timeout'],
    ['a bad certificate', { code: 'ETLS' }, 'transient', 'smtp_tls_failed'],
    ['a wrong password', { code: 'EAUTH', responseCode: 535, command: 'AUTH PLAIN' }, 'transient', 'smtp_auth_failed'],
    ['a busy server', { code: 'EENVELOPE', responseCode: 451, command: 'RCPT TO' }, 'transient', 'smtp_busy'],
    ['a wrong order', { code: 'EENVELOPE', responseCode: 503, command: 'DATA' }, 'transient', 'smtp_busy'],
    ['no service', { code: 'EPROTOCOL', responseCode: 554, command: 'CONN' }, 'transient', 'smtp_unreachable'],
    ['the sender', { code: 'EENVELOPE', responseCode: 550, command: 'MAIL FROM' }, 'transient', 'smtp_sender_refused'],
    ['the recipient', { code: 'EENVELOPE', responseCode: 550, command: 'RCPT TO' }, 'invalid_input', 'smtp_refused'],
    ['the message', { code: 'EMESSAGE', responseCode: 554, command: 'DATA' }, 'invalid_input', 'smtp_refused'],
    ['the size, said before', { code: 'EMESSAGE', command: 'MAIL FROM' }, 'invalid_input', 'smtp_too_large'],
    [
      'the size, said by code',
      { code: 'EMESSAGE', responseCode: 552, command: 'DATA' },
      'invalid_input',
      'smtp_too_large',
    ],
    ['our own end', { code: 'EABORT' }, 'transient', 'smtp_aborted'],
  ])('%s', (_what, error, kind, code) => {
    expect(toSmtpError(error)).toMatchObject({ kind, code });
  });

  it('keeps the codes, and nothing of what the server or the library said', () => {
    const vendor = Object.assign(new Error("Can't send to owner@example.com"), {
      code: 'EENVELOPE',
      command: 'RCPT TO',
      responseCode: 550,
      response: '550 5.1.1 <owner@example.com> unknown',
    });
    const error = toSmtpError(vendor);
    expect(error.context).toEqual({ reason: 'EENVELOPE', status: 550, enhancedStatus: '5.1.1' });
    expect(error.cause).toBeUndefined();
    expect(`${error.message} ${JSON.stringify(error)} ${error.stack ?? ''}`).not.toContain('owner@example.com');
  });

  it('takes anything that can be thrown', () => {
    for (const thrown of [undefined, null, 'text', new TypeError('odd')]) {
      expect(toSmtpError(thrown)).toMatchObject({ kind: 'transient', code: 'smtp_unreachable' });
    }
  });
});

import { describe, expect, it } from '@jest/globals';
import { isMailAddress, parseSender } from './mail-address.ts';
import { NoMailer } from './mailer.ts';
import { openMailer } from './open-mailer.ts';
import { parseSmtpUrl, SmtpMailer } from './smtp-mailer.ts';

describe('SMTP_URL', () => {
  it.each([
    [
      'smtps://u%40x:p%2F@mail.example.com',
      { port: 465, isSecure: true, mustUpgrade: false, auth: { user: 'u@x', pass: 'p/' } },
    ],
    ['smtp://mail.example.com', { port: 587, isSecure: false, mustUpgrade: false, auth: undefined }],
    ['smtp://u:p@mail.example.com:2525', { port: 2525, isSecure: false, mustUpgrade: true }],
    ['smtp://u:p@127.0.0.1:25', { host: '127.0.0.1', mustUpgrade: false }],
    ['smtp://u:p@[::1]:25', { host: '::1', mustUpgrade: false }],
  ])('%s', (url, expected) => {
    expect(parseSmtpUrl(url)).toMatchObject(expected);
  });
});

describe('the mailer of the settings', () => {
  it('is none without a server, the sandbox’s where there is one, and wants a sender with a server', () => {
    const nothing = { SMTP_URL: undefined, MAIL_FROM: undefined };
    expect(openMailer(nothing)).toBeInstanceOf(NoMailer);
    expect(openMailer(nothing, 'smtp://127.0.0.1:1').canSend).toBe(true);
    expect(openMailer({ SMTP_URL: 'smtp://127.0.0.1:1', MAIL_FROM: 'a@example.com' }).canSend).toBe(true);
    expect(() => openMailer({ ...nothing, SMTP_URL: 'smtp://127.0.0.1:1' })).toThrow('MAIL_FROM must be set');
  });

  it('says that it cannot send', async () => {
    await expect(new NoMailer().send()).rejects.toMatchObject({ kind: 'transient', code: 'mail_not_configured' });
  });
});

describe('an address', () => {
  it.each([
    'a@b.example, c@d.example',
    'a@b.example\r\nBcc: c@d.example',
    'Name <a@b.example>',
    '<a@b.example>',
    'a b@c.example',
    '"a b"@c.example',
    'a@b.example\u0000',
    '@b.example',
    'a@',
    '',
    `${'a'.repeat(250)}@b.example`,
  ])('%j is not one', (text) => {
    expect(isMailAddress(text)).toBe(false);
  });

  it('of a sender may have a name', () => {
    expect(parseSender('Answerline <no-reply@example.com>')).toEqual({
      name: 'Answerline',
      address: 'no-reply@example.com',
    });
    expect(parseSender('"A, B" <a@example.com>')).toEqual({ name: 'A, B', address: 'a@example.com' });
    expect(parseSender('a@example.com')).toEqual({ name: '', address: 'a@example.com' });
  });
});

describe('a mail whose headers are not safe', () => {
  const mailer = new SmtpMailer({ url: 'smtp://127.0.0.1:1', from: 'a@example.com' });
  const mail = {
    id: '0199aaaa-0000-7000-8000-000000000000',
    to: ['owner@example.com'],
    subject: 'x',
    text: '',
    html: '',
    attachments: [],
  };
  it.each<[string, object, string]>([
    ['two recipients in one', { to: ['a@b.example, c@d.example'] }, 'mail_recipient_invalid'],
    ['nobody', { to: [] }, 'mail_recipient_invalid'],
    ['a subject of two lines', { subject: 'x\r\nBcc: c@d.example' }, 'mail_header_invalid'],
    ['a subject with a line end of Unicode', { subject: 'x\u2028y' }, 'mail_header_invalid'],
    ['a file name with a quote', { attachments: [{ filename: 'a"\r\nX: y', text: '' }] }, 'mail_header_invalid'],
    ['an id that is none', { id: 'x>\r\nX: y' }, 'mail_header_invalid'],
  ])('%s is not sent', async (_what, change, code) => {
    await expect(mailer.send({ ...mail, ...change })).rejects.toMatchObject({ kind: 'invalid_input', code });
  });

  it('while a good one reaches for the server', async () => {
    await expect(mailer.send(mail)).rejects.toMatchObject({ kind: 'transient', code: 'smtp_unreachable' });
    mailer.close();
  });
});

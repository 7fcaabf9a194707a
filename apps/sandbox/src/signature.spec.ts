import { describe, expect, it } from '@jest/globals';
import { encodeWebhook, signWebhook } from './signature.ts';

describe('encodeWebhook', () => {
  it.each([
    ['äöå', '"\\u00e4\\u00f6\\u00e5"'],
    ['1/2', '"1\\/2"'],
    ['👍', '"\\ud83d\\udc4d"'],
    ['a "b" \\ \n', '"a \\"b\\" \\\\ \\n"'],
    ['\u2028\u007f<&', '"\\u2028\u007f<&"'],
  ])('writes %j as Meta does', (value, expected) => {
    const bytes = encodeWebhook(value);
    expect(bytes.toString('latin1')).toBe(expected);
    expect(JSON.parse(bytes.toString())).toBe(value);
  });
});

describe('signWebhook', () => {
  // Computed with another HMAC implementation; the second body is in Meta's escaping.
  it.each([
    [
      '{"object":"whatsapp_business_account","entry":[]}',
      'sha256=dec6a680679a968e7e0319355b23599cbfc54502c0784668e9618baa0c633756',
    ],
    [
      '{"object":"whatsapp_business_account","entry":[{"id":"1234567890987654321","changes":[{"value":{"messaging_product":"whatsapp","metadata":{"display_phone_number":"972123456789","phone_number_id":"1122334455667"},"contacts":[{"profile":{"name":"Test Name"},"wa_id":"972987654321","user_id":"US.13491208655302741918","parent_user_id":"US.ENT.11815799212886844830"}],"messages":[{"from":"972987654321","id":"wamid.xyzxyz","timestamp":"1697043379","type":"image","image":{"mime_type":"image\\/jpeg","sha256":"4654+8g=","id":"65463453","url":"https:\\/\\/lookaside.fbsbx.com\\/whatsapp_business\\/attachments\\/?mid=65463453&source=webhook&ext=487r9re&hash=heiwchueowbcew-dnedcw"}}]},"field":"messages"}]}]}',
      'sha256=88c7f1678730cb5296084b083aaf55bf448922106f7ada808600985285e0043b',
    ],
  ])('signs %s', (body, expected) => {
    expect(signWebhook('test_app_secret', Buffer.from(body))).toBe(expected);
    expect(signWebhook('test_app_secret', encodeWebhook(JSON.parse(body)))).toBe(expected);
  });
});

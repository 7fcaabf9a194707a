import * as z from 'zod';

/** A path is at most 256 characters with its brackets (RFC 5321 4.5.3.1.3). */
const schema = z.email().max(254);

/** Whether `text` is one plain e-mail address. Nothing that passes can end a header line or name a second recipient. */
export const isMailAddress = (text: string): boolean => schema.safeParse(text).success;

/** A sender as settings have it, `a@b.example` or `Some name <a@b.example>`, taken apart. */
export function parseSender(text: string): { readonly name: string; readonly address: string } {
  const [, name = '', address = text] = /^([^<>]*)<([^<>]+)>$/.exec(text.trim()) ?? [];
  return { name: name.trim().replace(/^"(.*)"$/, '$1'), address: address.trim() };
}

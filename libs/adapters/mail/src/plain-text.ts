/**
 * Words of others as they may stand in a mail: line ends are `\n`, and there is nothing in them that moves the cursor, ends the text or
 * turns the direction of what follows (C0 and C1 controls, Unicode's direction marks, lone surrogates).
 */
export function plainText(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?|[\u2028\u2029\u0085]/g, '\n')
    .replace(/[\u0000-\u0008\u000b-\u001f\u007f-\u009f\u061c\u200e\u200f\u202a-\u202e\u2066-\u2069\ufeff]/g, '');
}

/** The same on one line. */
export const oneLine = (text: string): string => plainText(text).replace(/\s+/g, ' ').trim();

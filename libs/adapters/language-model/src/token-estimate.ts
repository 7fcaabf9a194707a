/**
 * Bytes of UTF-8 that make one token at least. Measured with the vocabularies o200k and cl100k: prose in nine scripts has 2.4 bytes a
 * token or more, English 4.7; only rows of digits and of emoji come down to 1.5. So text is counted too long rather than too short
 * for any model that is in use, without loading a vocabulary.
 */
const bytesPerToken = 2;

/** How many tokens a text has at most, for keeping a prompt within its budget. */
export function tokensAtMost(text: string): number {
  return Math.ceil(Buffer.byteLength(text) / bytesPerToken);
}

/** The beginning of a text that has at most `tokens` by {@link tokensAtMost}; never half a character. */
export function beginningOf(text: string, tokens: number): string {
  if (tokensAtMost(text) <= tokens) return text;
  const bytes = Buffer.from(text).subarray(0, tokens * bytesPerToken);
  // Bytes of a character that was cut in two decode to U+FFFD.
  return bytes.toString().replace(/\uFFFD+$/, '');
}

/** How many tokens a text has by and large, for a receipt whose model did not count: a token has about 4 characters. */
export function tokensAbout(text: string): number {
  return Math.ceil(text.length / 4);
}

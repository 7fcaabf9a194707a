const marks: readonly (readonly [RegExp, string])[] = [
  // user and password in a URL
  [/:\/\/[^\s/@]+@/g, '://[redacted]@'],
  [/\b(Bearer|Basic)\s+[\w.~+/=-]+/gi, '$1 [redacted]'],
  // our API keys, Meta's access tokens, keys of model providers
  [/\bal_[\w-]{8,}|\bEAA\w{8,}|\bsk-[\w-]{8,}/g, '[redacted]'],
  [/\b((?:access_)?token|secret|api_key|password|appsecret_proof)=[^\s&"']+/gi, '$1=[redacted]'],
  // errors that quote their input: JSON.parse, and Postgres on a value it cannot read
  [/(\.\.\.)?"[^]*"(\.\.\.)? is not valid JSON/g, '[redacted] is not valid JSON'],
  [/(invalid (?:input syntax|input value|byte sequence)[^:\n]*:) .*/g, '$1 [redacted]'],
  // E.164 has at most 15 digits (ITU-T E.164 6.2.1). Digits inside an id such as a UUID do not stand alone.
  [/(?<![\w-])\+?\d{8,15}(?![\w-])/g, '[redacted]'],
];

/** `text` without what looks like a secret or a phone number. For words that others wrote, such as the message of a vendor's error. */
export function scrub(text: string): string {
  return marks.reduce((result, [pattern, replacement]) => result.replace(pattern, replacement), text);
}

/**
 * Fields whose value never reaches a log line, at any depth and in any spelling: `accessToken` is also `access_token` and
 * `ACCESS-TOKEN`. Nothing should put them there in the first place; this is the net below. To log such a word as something
 * harmless, give the field its full name: `channelName` or `stateBefore`, not `name` or `from`.
 */
export const redactedFields = [
  // tokens and secrets
  'token accessToken internalToken verifyToken key keys apiKey operatorKey webhookKey webhookPath encryptionKeys',
  'secret appSecret authSecret password ciphertext',
  // addresses of services, which may hold a password
  'databaseUrl natsUrl smtpUrl elasticsearchUrl',
  // HTTP
  'headers authorization proxyAuthorization cookie setCookie xHubSignature256 answerlineOperatorKey',
  // people: numbers, addresses, names
  'phone phoneNumber displayPhoneNumber waId bsuid userId parentUserId from to recipient recipientId identity input email',
  'notifyEmails ownerEmail operatorEmail name displayName profileName formattedName profile username contact contacts',
  // what people said
  'text body rawBody raw payload caption content title question answer prompt passages message messages parameters',
].flatMap((line) => line.split(' '));

const spelling = (field: string) => field.toLowerCase().replace(/[-_]/g, '');
const redactedSpellings: ReadonlySet<string> = new Set(redactedFields.map(spelling));

/** Whether the value of `field` must not be printed. */
export const isRedacted = (field: string): boolean => redactedSpellings.has(spelling(field));

/** Every number from here on could be a phone number. Counts and durations stay readable under any field. */
const smallestPhoneNumber = 1_000_000;

/** What is printed for `value` under a redacted field: nothing but that it was there, unless it is a small number or a yes/no. */
export function censor(value: unknown): unknown {
  const harmless = typeof value === 'boolean' || (typeof value === 'number' && value < smallestPhoneNumber);
  return harmless || value === undefined || value === null ? value : '[redacted]';
}

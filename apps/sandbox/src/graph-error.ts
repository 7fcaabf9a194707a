import { randomBytes } from 'node:crypto';

/** What the sandbox knows of one of Meta's error codes (Meta, "Error codes"; HTTP statuses as seen in its samples). */
interface KnownError {
  readonly status: number;
  readonly title: string;
  readonly details?: string;
}

const knownErrors: Readonly<Record<number, KnownError>> = {
  1: { status: 500, title: 'API Unknown' },
  2: { status: 503, title: 'API Service', details: 'Temporary due to downtime or due to being overloaded.' },
  3: { status: 403, title: 'API Method' },
  4: { status: 429, title: 'API Too Many Calls', details: 'The app has reached its API call rate limit.' },
  10: { status: 403, title: 'Permission Denied' },
  15: { status: 400, title: 'This method must be called with an app access_token.' },
  17: { status: 429, title: 'User request limit reached' },
  33: { status: 400, title: 'Parameter value is not valid' },
  100: { status: 400, title: 'Invalid parameter' },
  101: { status: 400, title: 'Missing client_id parameter.' },
  104: { status: 401, title: 'An access token is required to request this resource.' },
  190: { status: 401, title: 'Invalid OAuth access token - Cannot parse access token' },
  200: { status: 403, title: 'Permissions error' },
  368: { status: 403, title: 'Temporarily blocked for policies violations' },
  2200: { status: 400, title: 'Callback verification failed' },
  2500: { status: 400, title: 'Unknown path components' },
  80007: {
    status: 429,
    title: 'Rate limit issues',
    details: 'The WhatsApp Business Account has reached its rate limit.',
  },
  130429: {
    status: 429,
    title: 'Rate limit hit',
    details: 'Cloud API message throughput has been reached.',
  },
  131000: { status: 500, title: 'Something went wrong', details: 'Message failed to send due to an unknown error.' },
  131005: { status: 403, title: 'Access denied', details: 'Permission is either not granted or has been removed.' },
  131009: { status: 400, title: 'Parameter value is not valid' },
  131016: { status: 503, title: 'Service unavailable', details: 'A service is temporarily unavailable.' },
  131026: { status: 400, title: 'Message undeliverable', details: 'Message Undeliverable.' },
  131030: {
    status: 400,
    title: 'Recipient phone number not in allowed list',
    details: 'Recipient phone number not in allowed list: Add recipient phone number to recipient list and try again.',
  },
  131031: { status: 403, title: 'Business Account locked' },
  131042: { status: 400, title: 'Business eligibility payment issue' },
  131047: {
    status: 400,
    title: 'Re-engagement message',
    details:
      'Message failed to send because more than 24 hours have passed since the customer last replied to this number.',
  },
  131051: { status: 400, title: 'Unsupported message type', details: 'Message type is not currently supported.' },
  131056: {
    status: 400,
    title: '(Business Account, Consumer Account) pair rate limit hit',
    details: 'Too many messages sent from this phone number to the same phone number in a short period of time.',
  },
  131057: { status: 503, title: 'Business Account is in maintenance mode' },
  133010: { status: 400, title: 'Account not registered' },
};

/** A refusal of the Graph API: its HTTP status and body. */
export interface GraphRefusal {
  readonly status: number;
  readonly body: { readonly error: Readonly<Record<string, unknown>> & { readonly code: number } };
}

/** What may differ from the table in one refusal. */
export interface RefusalDetails {
  readonly status?: number;
  readonly details?: string;
  readonly message?: string;
  readonly subcode?: number;
  readonly type?: string;
  readonly isTransient?: boolean;
}

/** Graph's refusal with this code, in the shape of Meta's "Error codes" page. Codes outside the table get a plain text. */
export function refusal(code: number, given: RefusalDetails = {}): GraphRefusal {
  const known = knownErrors[code] ?? { status: 400, title: 'Unknown error' };
  const details = given.details ?? known.details;
  return {
    status: given.status ?? known.status,
    body: {
      error: {
        message: given.message ?? `(#${code}) ${known.title}`,
        type: given.type ?? 'OAuthException',
        code,
        ...(details !== undefined && { error_data: { messaging_product: 'whatsapp', details } }),
        ...(given.subcode !== undefined && { error_subcode: given.subcode }),
        ...(given.isTransient !== undefined && { is_transient: given.isTransient }),
        fbtrace_id: `A${randomBytes(16).toString('base64url')}`,
      },
    },
  };
}

/** The same error as a `failed` status carries it, where title and message are one text. */
export function webhookError(code: number): Readonly<Record<string, unknown>> {
  const title = knownErrors[code]?.title ?? 'Unknown error';
  const details = knownErrors[code]?.details ?? title;
  return {
    code,
    title,
    message: title,
    error_data: { details },
    href: 'https://developers.facebook.com/documentation/business-messaging/whatsapp/support/error-codes',
  };
}

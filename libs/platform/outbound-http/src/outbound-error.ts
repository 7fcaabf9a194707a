import { InvalidInput, Transient } from '@answerline/errors';
import { errors } from 'undici';

/**
 * Whether the other side can have acted on a request that failed. `not_sent`: for certain not, because not one byte of it was
 * written (no address, refused connection, failed TLS, a time limit before that). `unknown`: it was written, at least in part.
 */
export type Delivery = 'not_sent' | 'unknown';

/** Why a request failed, stable. Only the last three can have `delivery` `unknown`, besides a timeout and an abort. */
export type OutboundCode =
  | 'outbound_dns_failed'
  | 'outbound_refused'
  | 'outbound_unreachable'
  | 'outbound_tls_failed'
  | 'outbound_timeout'
  | 'outbound_aborted'
  | 'outbound_cut'
  | 'outbound_response_too_large'
  | 'outbound_response_invalid';

/** A request without a usable answer. `context` has the system's or undici's code as `reason`, never the URL. */
export class OutboundError extends Transient {
  readonly delivery: Delivery;
  declare readonly code: OutboundCode;

  constructor(code: OutboundCode, delivery: Delivery, cause?: unknown) {
    super(code, 'A request to another service failed.', { cause, context: { delivery, reason: reasonOf(cause) } });
    this.delivery = delivery;
  }
}

/** Why a URL is not fetched, stable: clients show it to the person who gave the URL. */
export type RefusalCode =
  | 'url_invalid'
  | 'url_scheme_refused'
  | 'url_port_refused'
  | 'url_credentials_refused'
  | 'url_address_refused'
  | 'url_redirect_refused'
  | 'url_too_many_redirects';

/** A URL that must not be fetched. Nothing was sent to the refused address. */
export class UrlRefused extends InvalidInput {
  declare readonly code: RefusalCode;

  constructor(code: RefusalCode, message: string) {
    super(code, message);
  }
}

/** The `code` of an error of the system or of undici. */
export function reasonOf(error: unknown): string | undefined {
  if (typeof error !== 'object' || error === null || !('code' in error)) return undefined;
  return typeof error.code === 'string' ? error.code : undefined;
}

const connectCodes: Readonly<Record<string, OutboundCode>> = {
  ENOTFOUND: 'outbound_dns_failed',
  EAI_AGAIN: 'outbound_dns_failed',
  EAI_FAIL: 'outbound_dns_failed',
  EAI_NODATA: 'outbound_dns_failed',
  EAI_NONAME: 'outbound_dns_failed',
  ECONNREFUSED: 'outbound_refused',
  EHOSTUNREACH: 'outbound_unreachable',
  ENETUNREACH: 'outbound_unreachable',
  EADDRNOTAVAIL: 'outbound_unreachable',
  EHOSTDOWN: 'outbound_unreachable',
  ENETDOWN: 'outbound_unreachable',
  ETIMEDOUT: 'outbound_timeout',
  UND_ERR_CONNECT_TIMEOUT: 'outbound_timeout',
  ECONNRESET: 'outbound_cut',
  ECONNABORTED: 'outbound_cut',
  EPIPE: 'outbound_cut',
  UND_ERR_SOCKET: 'outbound_cut',
};

/** The {@link OutboundError} for what the transport threw. `wasWritten`: a byte of the request may have left. */
export function transportError(
  cause: unknown,
  options: { readonly wasWritten: boolean; readonly isTls: boolean },
): OutboundError {
  const { wasWritten, isTls } = options;
  const reason = reasonOf(cause) ?? '';
  const known = connectCodes[reason];
  if (!wasWritten)
    return new OutboundError(known ?? (isTls ? 'outbound_tls_failed' : 'outbound_cut'), 'not_sent', cause);
  // undici's parser errors have a name, and not always a code.
  const isNotHttp = cause instanceof errors.HTTPParserError || reason === 'UND_ERR_HEADERS_OVERFLOW';
  return new OutboundError(known ?? (isNotHttp ? 'outbound_response_invalid' : 'outbound_cut'), 'unknown', cause);
}

/** What a person reads of a code: what it is, and what to do. */
export interface ReasonText {
  readonly message: string;
  readonly action: string;
}

const RECONNECT = 'Generate a permanent token of a system user at Meta and connect the number again with it.';
const WAIT = 'Nothing to do: it is tried again by itself.';
const AT_META = 'Open the WhatsApp Manager at Meta, see what it asks for, then connect the number again.';
const CALLBACK = 'Look at the address in PUBLIC_URL, and at the proxy, firewall or tunnel in front of the gateway.';
const OUR_FAULT = 'Tell the operator of this installation.';

const text = (message: string, action: string): ReasonText => ({ message, action });

/**
 * What health says of its own findings and of failed sends. What a check of the connection finds brings its own words along.
 * Send codes are those of Meta's error table in @answerline/whatsapp.
 */
const texts: Readonly<Record<string, ReasonText>> = {
  // The connection.
  credentials_missing: text('The number is not connected yet.', 'Connect it with the values from Meta.'),
  app_secret_missing: text(
    'Without the App Secret nobody can tell Meta’s deliveries from forged ones.',
    'Copy it from App settings → Basic at Meta and connect again with it.',
  ),
  webhook_not_verified: text(
    'Meta has not verified the callback yet.',
    'Paste Callback URL and Verify Token into WhatsApp → Configuration → Webhooks at Meta, then Verify and Save.',
  ),
  no_event_yet: text(
    'Nothing has come from Meta for this number yet.',
    'Subscribe to the field messages at Meta and write to the number from another phone.',
  ),
  signatures_refused: text(
    'Deliveries come with a signature that does not fit the stored App Secret.',
    'Copy the App Secret again from App settings → Basic at Meta and connect again with it.',
  ),
  plan_without_whatsapp: text(
    'The plan of this workspace does not include WhatsApp: messages are stored and not answered.',
    'Choose a plan with WhatsApp.',
  ),
  workspace_suspended: text('This workspace is suspended.', 'Ask the operator of this installation.'),
  mail_not_configured: text(
    'This installation sends no mail, so nobody is told of handoffs and alarms.',
    'The operator sets SMTP_URL.',
  ),
  token_expiring: text('The access token expires soon.', RECONNECT),
  quality_low: text(
    'Meta rates the quality of this number as low: people block or report it.',
    'Meta may limit the number. See what people complained of in the WhatsApp Manager.',
  ),
  number_not_working: text('Meta shows this number as not connected, limited or banned.', AT_META),

  // The delivery of our own.
  delivery_ok: text('A signed delivery came through the public address.', 'Nothing to do.'),
  callback_name_unknown: text('The name in PUBLIC_URL cannot be resolved.', 'Look at its DNS record.'),
  callback_unreachable: text('Nothing takes a connection at the public address.', CALLBACK),
  callback_tls_failed: text(
    'The certificate at the public address is not accepted. Meta takes no self-signed one.',
    'Install a certificate of a public authority, with its whole chain, for the name in PUBLIC_URL.',
  ),
  callback_no_answer: text('The public address took the delivery and did not answer in time.', CALLBACK),
  callback_redirected: text(
    'The public address redirects. Meta follows no redirect.',
    'Set PUBLIC_URL to the address that it redirects to, or take the redirect away.',
  ),
  callback_answered_by_other: text('Something else than Answerline answers at the public address.', CALLBACK),
  callback_blocked: text(
    'A firewall or proxy in front of the gateway refuses deliveries.',
    'Let POST requests to /webhooks/whatsapp/ through without a challenge, a login or a limit.',
  ),
  callback_wrong_answer: text('The public address does not lead to this gateway.', CALLBACK),
  callback_signature_refused: text(
    'Our own signature was refused: something changes bodies on their way, or other processes have another App Secret.',
    'Switch off whatever rewrites requests in front of the gateway.',
  ),
  callback_not_stored: text('The gateway could not store the delivery.', OUR_FAULT),
  self_test_not_read: text(
    'The delivery was taken and nobody has read it yet: ingest is behind or not running, or another server answered.',
    OUR_FAULT,
  ),

  // Sends that Meta refused.
  payment_method_missing: text(
    'Meta has no valid payment method for this WhatsApp account and delivers no more (131042).',
    'Add a payment method in the WhatsApp Manager at Meta under Billing, then connect the number again.',
  ),
  recipient_not_in_allowed_list: text(
    'A test number of Meta writes only to recipients that are on its list (131030).',
    'Add the recipient at Meta under WhatsApp → API Setup → To, or connect a real number.',
  ),
  token_invalid: text('Meta does not accept the access token.', RECONNECT),
  token_expired: text('The access token has expired.', RECONNECT),
  token_password_changed: text('The token ended when a password was changed.', RECONNECT),
  token_required: text('Meta did not see an access token.', RECONNECT),
  token_not_accepted: text('Meta does not accept the access token.', RECONNECT),
  app_removed: text('The Meta app was removed from the account that made the token.', RECONNECT),
  permission_missing: text(
    'The token may not send for this number.',
    'Give the system user whatsapp_business_messaging and the WhatsApp account as an asset, and connect with a new token.',
  ),
  capability_missing: text('The Meta app may not send for this number.', AT_META),
  phone_number_deleted: text('The number is gone from Meta.', 'Connect another number.'),
  phone_number_not_accessible: text(
    'The number does not exist at Meta, or the token has no access to it.',
    'Compare the Phone number ID, and give the system user the WhatsApp account as an asset.',
  ),
  phone_number_not_found: text('Meta does not know this Phone number ID.', 'Copy it again from WhatsApp → API Setup.'),
  phone_number_not_registered: text('The number is not registered for the Cloud API.', AT_META),
  phone_number_not_verified: text('The number is not verified at Meta.', AT_META),
  account_blocked_for_policy: text('Meta has blocked the account for a violation of its policy.', AT_META),
  account_locked: text('Meta has restricted or locked the account.', AT_META),
  account_needs_action: text('Meta waits for an action of the account’s owner.', AT_META),
  account_restricted_in_country: text('Meta lets this account not write to people in that country.', AT_META),
  display_name_not_approved: text('Meta has not approved the display name of the number.', AT_META),
  spam_limit_reached: text('Meta limits this number because people blocked or reported it.', AT_META),
  payments_terms_not_accepted: text('Meta’s terms of payment are not accepted.', AT_META),
  window_closed: text(
    'The 24 hours after the contact’s last message were over.',
    'WhatsApp allows only templates then; the contact can write again.',
  ),
  recipient_unreachable: text(
    'The contact cannot be reached: no WhatsApp, an old version, or terms not accepted.',
    'Nothing to do.',
  ),
  throughput_reached: text('More messages a second than Meta allows for this number.', WAIT),
  pair_rate_limited: text('More messages to one contact than Meta allows.', WAIT),
};

/** The send errors that a person can mend, by the code of Meta's error table, under the name that health gives them. */
const renamed: Readonly<Record<string, string>> = { payment_problem: 'payment_method_missing' };

/** The name of a failed send's code in health. */
export function healthCode(sendCode: string): string {
  return renamed[sendCode] ?? sendCode;
}

/** The words for a code; for one without words of its own, those that fit all. */
export function reasonText(code: string): ReasonText {
  return (
    texts[code] ?? text(`Meta or the network answered: ${code}.`, 'The code is explained in docs/guides/whatsapp.md.')
  );
}

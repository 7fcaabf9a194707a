import { InvalidInput } from '@answerline/errors';

/**
 * Countries where one line is written in two ways (META 8): the webhook may give one form and the business dial the
 * other. Both are matched; neither is ever rewritten, in storage or when sending.
 */
interface NumberRule {
  /** Either form, with the digits that both share as capture groups. */
  readonly forms: readonly RegExp[];
  /** Both forms out of those digits; the first is the match key. */
  readonly write: readonly ((digits: string) => string)[];
}

const RULES: readonly NumberRule[] = [
  {
    // Brazil: 55, two digits of area, then 9 digits for a mobile, of which WhatsApp often leaves out the leading 9. The
    // eight others of such an old mobile begin with 6 to 9; landlines begin with 2 to 5, have no ninth digit, and must
    // not be taken for mobiles.
    forms: [/^55([1-9][1-9])9([6-9]\d{7})$/, /^55([1-9][1-9])([6-9]\d{7})$/],
    write: [(digits) => `55${digits.slice(0, 2)}9${digits.slice(2)}`, (digits) => `55${digits}`],
  },
  {
    // Mexico: 52 and ten digits; the 1 that mobiles once had between them still appears.
    forms: [/^521([2-9]\d{9})$/, /^52([2-9]\d{9})$/],
    write: [(digits) => `52${digits}`, (digits) => `521${digits}`],
  },
  {
    // Argentina: 54, a 9 for mobiles, then ten digits of area and number. Area codes begin with 1 to 3.
    forms: [/^549([1-3]\d{9})$/, /^54([1-3]\d{9})$/],
    write: [(digits) => `549${digits}`, (digits) => `54${digits}`],
  },
];

/** Digits only, when it is a phone number, with or without `+`, spaces, dots, dashes and brackets; else undefined. */
function digitsOf(value: string): string | undefined {
  if (!/^\+?[\d\s().-]+$/.test(value)) return undefined;
  const digits = value.replace(/\D/g, '');
  return digits === '' ? undefined : digits;
}

function formsOf(digits: string): readonly string[] {
  for (const rule of RULES) {
    for (const form of rule.forms) {
      const match = form.exec(digits);
      if (match !== null) return rule.write.map((write) => write(match.slice(1).join('')));
    }
  }
  return [digits];
}

/**
 * Every way in which the number may be written, itself first: two for Brazilian mobiles (with and without the ninth
 * digit), Mexican (52, 521) and Argentine (54, 549) numbers, else one. Digits without `+`. What is no phone number
 * comes back as it is.
 */
export function phoneVariants(waId: string): string[] {
  const digits = digitsOf(waId);
  return digits === undefined ? [waId] : [...new Set([digits, ...formsOf(digits)])];
}

/**
 * The same string for all {@link phoneVariants} of a number, to find a contact by. Not a number to store or to send to.
 * What is no phone number comes back as it is.
 */
export function matchKey(waId: string): string {
  const digits = digitsOf(waId);
  return digits === undefined ? waId : formsOf(digits)[0]!;
}

/** An address that Meta gave for a person, verbatim. */
export interface WhatsAppIdentity {
  readonly kind: 'wa_id' | 'bsuid';
  readonly value: string;
}

/** How a message names its recipient: one of the two, never both (with both, Meta takes `to`). */
export type RecipientAddress = { readonly to: string } | { readonly recipient: string };

/**
 * The address to send to: `to` with `+` and the digits as Meta gave them, because without `+` Meta puts the business's
 * own country code before them (META 8); `recipient` for a BSUID. Throws InvalidInput `recipient_invalid` for a `wa_id`
 * that is no number of 5 to 20 digits, or an empty value.
 */
export function recipientOf(identity: WhatsAppIdentity): RecipientAddress {
  if (identity.kind === 'bsuid' && identity.value !== '') return { recipient: identity.value };
  const digits = identity.kind === 'wa_id' ? digitsOf(identity.value) : undefined;
  if (digits === undefined || digits.length < 5 || digits.length > 20) {
    throw new InvalidInput('recipient_invalid', 'The contact has no address that WhatsApp can send to.');
  }
  return { to: `+${digits}` };
}

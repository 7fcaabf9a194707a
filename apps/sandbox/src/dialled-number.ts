// ITU E.164: 1 and 7 stand alone, these have two digits, every other calling code has three.
const twoDigitCodes = new Set(
  (
    '20 27 30 31 32 33 34 36 39 40 41 43 44 45 46 47 48 49 51 52 53 54 55 56 57 58 60 61 62 63 64 65 66 ' +
    '81 82 84 86 90 91 92 93 94 95 98'
  ).split(' '),
);

/** The country calling code of an international number, given as digits. */
export function callingCode(digits: string): string {
  if (digits.startsWith('1') || digits.startsWith('7')) return digits.slice(0, 1);
  const two = digits.slice(0, 2);
  return twoDigitCodes.has(two) ? two : digits.slice(0, 3);
}

/** Only the digits of a number however it is written. */
export function digitsOf(number: string): string {
  return number.replace(/\D/g, '');
}

/**
 * The digits that Meta dials for `to`. Without a `+` it puts the calling code of the business's own number in front,
 * whatever stands there (Meta, "Send messages", phone number formats).
 */
export function dialledDigits(to: string, businessNumber: string): string {
  const digits = digitsOf(to);
  return to.trim().startsWith('+') ? digits : callingCode(digitsOf(businessNumber)) + digits;
}

/**
 * Other spellings of the same phone that Meta accepts: Mexico with or without the 1 after 52, Brazil with or without
 * the 9 after the area code. "The extra added prefix may be modified by the Cloud API" (Meta, "Send messages").
 * Argentina is not among them: 54… for a 549… contact is refused.
 */
export function equivalentDigits(digits: string): string | undefined {
  if (/^521\d{10}$/.test(digits)) return `52${digits.slice(3)}`;
  if (/^52\d{10}$/.test(digits)) return `521${digits.slice(2)}`;
  if (/^55\d{2}9\d{8}$/.test(digits)) return digits.slice(0, 4) + digits.slice(5);
  if (/^55\d{10}$/.test(digits)) return `${digits.slice(0, 4)}9${digits.slice(4)}`;
  return undefined;
}

import { isIP } from 'node:net';
import { z } from 'zod';
import { Secret } from './secret.ts';

/** One key of the ring: `key` is 32 bytes, for AES-256. */
export interface EncryptionKey {
  readonly id: string;
  readonly key: Buffer;
}

// Every schema takes the text of a variable, trimmed and not empty (lists also take the empty text). Its message goes
// after the variable's name, as in "PORT must be ...", and never repeats the value.

/** A whole number in decimal digits, `min` and `max` included. */
export const wholeNumber = (min: number, max: number, unit = '') =>
  z
    .string()
    .transform((text) => (/^\d+$/.test(text) ? Number(text) : NaN))
    .refine((value) => value >= min && value <= max, {
      error: `must be a whole number${unit && ` of ${unit}`} from ${min} to ${max}`,
    });

/** A number with or without decimals, `0.25` or `3`, up to `max`. */
export const decimalNumber = (max: number) =>
  z
    .string()
    .transform((text) => (/^\d+(\.\d+)?$/.test(text) ? Number(text) : NaN))
    .refine((value) => value <= max, { error: `must be a number from 0 to ${max}, with a point before its decimals` });

/** `on` or `off`; `true`, `false`, `1`, `0`, `yes` and `no` are understood too. */
export const onOff = () => z.stringbool({ error: 'must be on or off' });

export const oneOf = <const T extends readonly [string, ...string[]]>(values: T) =>
  z.string().pipe(z.enum(values, { error: `must be one of ${values.join(', ')}` }));

export const plainText = (maxLength = 200) =>
  z.string().max(maxLength, { error: `must have at most ${maxLength} characters` });

const isUrl = (text: string, protocols: readonly string[]) => {
  const url = URL.parse(text);
  return url !== null && url.hostname !== '' && protocols.includes(url.protocol.slice(0, -1));
};
const urlMessage = (protocols: readonly string[]) => `must be a URL that begins with ${protocols.join(':// or ')}://`;

/** A URL with a host and one of the `protocols`, as it was written. */
export const url = (...protocols: readonly string[]) =>
  z.string().refine((text) => isUrl(text, protocols), { error: urlMessage(protocols) });

/** A URL of nothing but one of the `protocols`, a host and a port. */
export const urlWithPort = (...protocols: readonly string[]) =>
  url(...protocols).refine((text) => /^[a-z]+:\/\/[^/?#@]+:\d+$/.test(text), {
    error: 'must end with the port, and have no path',
  });

/** Like {@link url}, for several servers with commas between them. */
export const urls = (...protocols: readonly string[]) =>
  z.string().refine((text) => text.split(',').every((part) => isUrl(part.trim(), protocols)), {
    error: `${urlMessage(protocols)}; several are parted by commas`,
  });

/** An http(s) address that paths are added to: without query, fragment and closing slash. */
export const baseUrl = () =>
  url('http', 'https')
    .refine((text) => !/[?#]/.test(text), { error: 'must have no ? and no #' })
    .transform((text) => text.replace(/\/+$/, ''));

export const emailAddress = () => z.email({ error: 'must be an e-mail address' });

/** `a@b.example` or `Some name <a@b.example>`. */
export const sender = () =>
  z.string().refine((text) => z.email().safeParse(/^[^<>]*<([^<>]+)>$/.exec(text)?.[1] ?? text).success, {
    error: 'must be an e-mail address, with or without a name before it',
  });

const items = (text: string) =>
  text
    .split(',')
    .map((item) => item.trim())
    .filter((item) => item !== '');

/** Values out of `allowed` with commas between them; the empty text is the empty list. */
export const listOf = <const T extends string>(allowed: readonly T[]) =>
  z
    .string()
    .transform(items)
    .refine((list): list is T[] => list.every((item) => (allowed as readonly string[]).includes(item)), {
      error: `may name only ${allowed.join(', ')}, parted by commas`,
    })
    .transform((list): readonly T[] => Object.freeze(list as T[]));

const isAddressOrRange = (text: string) => {
  const [address = '', bits, ...rest] = text.split('/');
  const version = isIP(address);
  if (version === 0 || rest.length > 0) return false;
  return bits === undefined || (/^\d{1,3}$/.test(bits) && Number(bits) <= (version === 4 ? 32 : 128));
};

/** IP addresses and CIDR ranges with commas between them; the empty text is the empty list. */
export const addressRanges = () =>
  z
    .string()
    .transform(items)
    .refine((list) => list.every(isAddressOrRange), {
      error: 'must be IP addresses or ranges such as 10.0.0.0/8, parted by commas',
    })
    .transform((list): readonly string[] => Object.freeze(list));

/** A token of at least `minLength` characters without white space. */
export const secretText = (minLength: number) =>
  z
    .string()
    .refine((text) => text.length >= minLength && !/\s/.test(text), {
      error: `must have at least ${minLength} characters and no white space`,
    })
    .transform((text) => new Secret(text));

/** Key ids are written into every ciphertext, so they are short and plain. */
const keyPattern = /^([a-z0-9][a-z0-9_-]{0,31}):([A-Za-z0-9+/]{43}=)$/;

/** `id:base64[,id:base64]`, 32 bytes each. The first key writes, all of them read. */
export const encryptionKeys = () =>
  z
    .string()
    .transform((text) =>
      items(text).map((item): EncryptionKey | undefined => {
        const [, id, base64] = keyPattern.exec(item) ?? [];
        return id === undefined || base64 === undefined ? undefined : { id, key: Buffer.from(base64, 'base64') };
      }),
    )
    .refine((ring) => ring.length > 0 && ring.every((key) => key !== undefined), {
      error: 'must be id:key, parted by commas, each key 32 bytes as base64 and each id small letters, digits, - and _',
    })
    .refine((ring) => new Set(ring.map((key) => key?.id)).size === ring.length, {
      error: 'must not use one id for two keys',
    })
    .transform((ring) => new Secret<readonly EncryptionKey[]>(Object.freeze(ring.filter((key) => key !== undefined))));

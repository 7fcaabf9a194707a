import { isIP } from 'node:net';
import ipaddr from 'ipaddr.js';

// Beyond the special ranges that ipaddr.js knows (IANA special-purpose registries, RFC 6890).
/** Azure's platform endpoint, a public address that answers only inside Azure, with the machine's settings. */
const azurePlatform = ipaddr.parseCIDR('168.63.129.16/32');
/** The only block that IANA gives out for public IPv6 (RFC 4291 2.4). Everything else is special or not in use. */
const globalUnicast = ipaddr.parseCIDR('2000::/3');

/**
 * Whether `address` is an ordinary public one that a stranger's URL may point to. Takes IPv4 and IPv6 in text; false for
 * anything else, and for every special range: private, loopback, link-local (with the clouds' metadata), carrier NAT,
 * multicast, documentation and benchmark ranges, and IPv6 that carries an IPv4 (mapped, NAT64, 6to4, Teredo).
 */
export function isPublicAddress(address: string): boolean {
  if (isIP(address) === 0 || !ipaddr.isValid(address)) return false;
  const parsed = ipaddr.parse(address);
  if (parsed.range() !== 'unicast') return false;
  return parsed.kind() === 'ipv6' ? parsed.match(globalUnicast) : !parsed.match(azurePlatform);
}

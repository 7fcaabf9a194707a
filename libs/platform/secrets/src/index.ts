export { Fingerprints, type Fingerprint } from './fingerprints.ts';
export { type KeyRing } from './key-ring.ts';
export { SecretBox, SecretUnreadable, type SecretPlace } from './secret-box.ts';
export { generateApiKey, generateToken, hashApiKey, hmacSha256, safeEqual } from './tokens.ts';

export { SecretBox, SecretUnreadable, type KeyRing, type SecretPlace } from './secret-box.ts';
export { generateApiKey, generateToken, hashApiKey, hmacSha256, safeEqual } from './tokens.ts';

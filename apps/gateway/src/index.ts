export { operate, type EmbeddedParts } from './operate.ts';

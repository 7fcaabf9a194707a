import { v7 } from 'uuid';

/** A new UUIDv7 (RFC 9562): unique, and in order of creation within a process. */
export function newId(): string {
  return v7();
}

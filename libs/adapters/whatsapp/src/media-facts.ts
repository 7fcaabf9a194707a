import { asObject } from './json-reading.ts';
import { parsePayload } from './parse-payload.ts';

/** What Meta says of a file that a contact sent. */
export interface MediaFacts {
  /** With parameters, as `audio/ogg; codecs=opus`. */
  readonly mimeType: string | null;
  /** Only documents have one. */
  readonly fileName: string | null;
  /** Rarely given. */
  readonly sizeBytes: number | null;
  /** As it was sent. Only images, videos and documents have one. */
  readonly caption: string | null;
}

/** The facts of a message object as Meta sent it, or undefined: it brings no file. Never throws. */
export function mediaFacts(message: unknown): MediaFacts | undefined {
  const payload = parsePayload(asObject(message) ?? {});
  if (payload.kind !== 'media') return undefined;
  const { mimeType = null, filename = null, sizeBytes = null, caption = null } = payload;
  return { mimeType, fileName: filename, sizeBytes, caption };
}

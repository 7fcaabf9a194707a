import { createHash, createHmac, randomBytes } from 'node:crypto';
import { z } from 'zod';

/** A file that somebody sent to a business number. */
export interface MediaFile {
  readonly id: string;
  readonly phoneNumberId: string;
  readonly mimeType: string;
  readonly bytes: Buffer;
  readonly atMs: number;
}

/** How long a file can be fetched, and its address used (Meta, "Media"). */
const keptMs = 604_800_000;
const addressMs = 300_000;

const contentSchema = z.looseObject({ id: z.string().min(1), mime_type: z.string().min(1) });
const mediaTypes = new Set(['image', 'video', 'audio', 'document', 'sticker']);

/** What the sandbox gives out for a file that was only named: bytes of no format, always the same for the same id. */
export function sampleMedia(id: string): Buffer {
  return Buffer.from(`Media ${id} of the sandbox.\n`);
}

/** As a webhook carries it; Graph writes the same in hex. */
export function sha256Base64(bytes: Uint8Array): string {
  return createHash('sha256').update(bytes).digest('base64');
}

/** Files by their id, and the addresses under which they can be fetched for five minutes. */
export class MediaStore {
  private readonly files = new Map<string, MediaFile>();
  private readonly key = randomBytes(32);

  put(file: MediaFile): void {
    this.files.set(file.id, file);
  }

  /** Notes the file that a message names, unless it is known. */
  learn(phoneNumberId: string, message: Readonly<Record<string, unknown>>, atMs: number): void {
    const type = message['type'];
    if (typeof type !== 'string' || !mediaTypes.has(type)) return;
    const content = contentSchema.safeParse(message[type]);
    if (!content.success || this.files.has(content.data.id)) return;
    const { id, mime_type: mimeType } = content.data;
    this.put({ id, phoneNumberId, mimeType, bytes: sampleMedia(id), atMs });
  }

  get(id: string, nowMs: number): MediaFile | undefined {
    const file = this.files.get(id);
    return file && nowMs - file.atMs <= keptMs ? file : undefined;
  }

  /** Path and query under which a file can be fetched from now on. */
  address(id: string, nowMs: number): string {
    const until = Math.floor((nowMs + addressMs) / 1000);
    return `/media/${encodeURIComponent(id)}?ext=${until}&hash=${this.hash(id, until)}`;
  }

  /** The file, if this address was given out and is still good. */
  fetch(
    id: string,
    query: { ext?: string | undefined; hash?: string | undefined },
    nowMs: number,
  ): MediaFile | undefined {
    const until = Number(query.ext);
    const isGood = query.hash === this.hash(id, until) && nowMs <= until * 1000;
    return isGood ? this.get(id, nowMs) : undefined;
  }

  clear(): void {
    this.files.clear();
  }

  private hash(id: string, until: number): string {
    return createHmac('sha256', this.key).update(`${id} ${until}`).digest('base64url');
  }
}

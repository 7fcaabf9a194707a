import { readdirSync, readFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { runningNats } from '@answerline/embedded-services';
import { eventually } from '@answerline/testing';
import { jetstreamManager } from '@nats-io/jetstream';
import { connect } from '@nats-io/transport-node';
import type pg from 'pg';

/** The names of what stands in `text`, as it is or written in one of the usual other ways. */
export function leaks(text: string, values: Readonly<Record<string, string>>): string[] {
  const lower = text.toLowerCase();
  return Object.entries(values)
    .filter(([, value]) => spellings(value).some((spelling) => lower.includes(spelling.toLowerCase())))
    .map(([name]) => name);
}

/** Plain, JSON-escaped, JSON of ASCII, URL-encoded, hex, base64 and base64url at any place of other bytes. */
function spellings(value: string): string[] {
  const bytes = Buffer.from(value);
  // What stands before shifts base64 by up to two bytes; the characters at both ends hold bits of the neighbours.
  const inBase64 = [0, 1, 2].flatMap((shift) => {
    const whole = Buffer.concat([Buffer.alloc(shift), bytes]);
    const usable = (text: string) => text.slice(Math.ceil((shift * 8) / 6), Math.floor((whole.length * 8) / 6));
    return [usable(whole.toString('base64')), usable(whole.toString('base64url'))];
  });
  const escaped = JSON.stringify(value).slice(1, -1);
  const ascii = escaped.replace(/[^ -~]/g, (letter) => `\\u${letter.charCodeAt(0).toString(16).padStart(4, '0')}`);
  const form = new URLSearchParams({ v: value }).toString().slice(2);
  const digits = value.replaceAll(/[ +]/g, '');
  return [value, digits, escaped, ascii, encodeURIComponent(value), form, bytes.toString('hex'), ...inBase64];
}

/** Subjects, headers and bodies of all messages of these streams, once they hold what is waited for. */
export async function streamsAsText(
  dataDir: string,
  streams: readonly string[],
  isThere: (found: string) => boolean,
): Promise<string> {
  const { url, token } = runningNats(join(dataDir, 'nats')) ?? {};
  if (url === undefined || token === undefined) throw new Error('No NATS runs.');
  const connection = await connect({ servers: url, token });
  try {
    const manager = await jetstreamManager(connection);
    return await eventually(
      async () => {
        let found = '';
        for (const stream of streams) {
          const { state } = await manager.streams.info(stream);
          for (let seq = state.first_seq; seq <= state.last_seq; seq++) {
            const message = await manager.streams.getMessage(stream, { seq });
            if (message) found += `${message.subject} ${JSON.stringify([...message.header])} ${message.string()}\n`;
          }
        }
        return isThere(found) && found;
      },
      { what: 'what was waited for is in the streams', timeoutMs: 30_000 },
    );
  } finally {
    await connection.close();
  }
}

/** Every row of every table, as a dump has it: bytes in hex. */
export async function databaseAsText(database: pg.Client): Promise<string> {
  const { rows: tables } = await database.query<{ name: string }>(
    `SELECT quote_ident(schemaname) || '.' || quote_ident(tablename) AS name FROM pg_tables
     WHERE schemaname NOT IN ('pg_catalog', 'information_schema') ORDER BY 1`,
  );
  let found = '';
  for (const { name } of tables) {
    const { rows } = await database.query<{ row: string }>(`SELECT t::text AS row FROM ${name} AS t`);
    found += `${name}\n${rows.map(({ row }) => row).join('\n')}\n`;
  }
  return found;
}

/** The files under a folder, by their path in it. */
export function filesUnder(folder: string): { readonly path: string; readonly text: string }[] {
  return readdirSync(folder, { recursive: true, withFileTypes: true })
    .filter((entry) => entry.isFile())
    .map((entry) => {
      const path = join(entry.parentPath, entry.name);
      // One character a byte, so that what stands between other bytes is found too.
      return { path: relative(folder, path), text: readFileSync(path, 'latin1') };
    });
}

import { join } from 'node:path';
import { type Config } from '@answerline/config';
import { startEmbeddedNats, startEmbeddedPostgres } from '@answerline/embedded-services';
import { type StartingProcess } from '@answerline/lifecycle';

/** Where Postgres and NATS are, embedded or not. */
export interface Services {
  readonly databaseUrl: string;
  readonly natsUrl: string;
  /** Of an embedded NATS. */
  readonly natsToken?: string;
}

/** Starts what no URL was given for, in folders under DATA_DIR; stopped with the process. */
export async function startMissingServices(
  starting: StartingProcess,
  config: Config<'DATABASE_URL' | 'NATS_URL' | 'DATA_DIR'>,
  onProgress: (line: string) => void,
): Promise<Services> {
  let databaseUrl = config.DATABASE_URL;
  if (databaseUrl === undefined) {
    const postgres = await startEmbeddedPostgres({ dataDir: join(config.DATA_DIR, 'postgres'), onProgress });
    starting.onStop('postgres', () => postgres.stop());
    databaseUrl = postgres.url;
  }
  if (config.NATS_URL !== undefined) return { databaseUrl, natsUrl: config.NATS_URL };
  const nats = await startEmbeddedNats({ dataDir: join(config.DATA_DIR, 'nats'), onProgress });
  starting.onStop('nats-server', () => nats.stop());
  return { databaseUrl, natsUrl: nats.url, natsToken: nats.token };
}

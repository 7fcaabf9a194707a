import { loadConfig } from '@answerline/config';
import { migrateDatabase } from './database.ts';

const { DATABASE_URL } = loadConfig(['DATABASE_URL']);
if (!DATABASE_URL) {
  process.stderr.write(
    'DATABASE_URL is not set. It is the Postgres to migrate, such as postgres://user:password@host:5432/answerline\n',
  );
  process.exit(1);
}
await migrateDatabase(DATABASE_URL);
process.stdout.write('The schema is up to date.\n');

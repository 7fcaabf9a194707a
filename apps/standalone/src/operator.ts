import { join } from 'node:path';
import { runningNats, runningPostgresUrl } from '@answerline/embedded-services';
import { operate } from '@answerline/gateway';
import { generatedSecret } from './generated-secrets.ts';

process.exitCode = await operate(process.argv.slice(2), {
  databaseUrl: (dataDir) => runningPostgresUrl(join(dataDir, 'postgres')),
  nats: (dataDir) => runningNats(join(dataDir, 'nats')),
  encryptionKeys: (dataDir) => generatedSecret(dataDir, 'ENCRYPTION_KEYS'),
});

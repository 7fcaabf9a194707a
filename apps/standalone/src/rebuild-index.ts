import 'reflect-metadata';
import { join } from 'node:path';
import { runningPostgresUrl } from '@answerline/embedded-services';
import { rebuild } from '@answerline/rag';

process.exitCode = await rebuild(process.argv.slice(2), (dataDir) => runningPostgresUrl(join(dataDir, 'postgres')));

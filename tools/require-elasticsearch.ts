// Exits 1, with one line that says what to do, when the Elasticsearch tests lack what tools/elasticsearch/run-es.sh needs; else lets
// it download and put the server together, which takes a minute the first time, so that no test waits for that.
import { spawnSync } from 'node:child_process';
import { existsSync, readdirSync } from 'node:fs';
import { join } from 'node:path';
import { stripVTControlCharacters } from 'node:util';

const neededJava = 21;
const systemFolder = '/usr/lib/jvm';

// The same places in the same order as run-es.sh; a JRE has no javac.
const system = existsSync(systemFolder) ? readdirSync(systemFolder).map((name) => join(systemFolder, name)) : [];
const homes = [process.env.ES_JAVA_HOME, process.env.JAVA_HOME, ...system].filter((home) => home !== undefined);
const hasJdk = homes.some((home) => {
  const { stdout } = spawnSync(join(home, 'bin/javac'), ['-version'], { encoding: 'utf8' });
  return Number(/javac (\d+)/.exec(stdout ?? '')?.[1] ?? 0) >= neededJava;
});
const hasMaven = spawnSync('mvn', ['--version'], { stdio: 'ignore' }).status === 0;

const missing = [
  hasJdk ? '' : `a JDK ${neededJava} or newer (set ES_JAVA_HOME or JAVA_HOME to it)`,
  hasMaven ? '' : 'Maven (apt-get install maven)',
].filter((what) => what !== '');
if (missing.length > 0) {
  console.error(`The Elasticsearch tests need ${missing.join(' and ')}.`);
  process.exit(1);
}

const script = join(import.meta.dirname, 'elasticsearch/run-es.sh');
const { status, stderr, stdout } = spawnSync('bash', [script, '--prepare'], { encoding: 'utf8' });
if (status !== 0) {
  const lines = stripVTControlCharacters(`${stdout}\n${stderr}`).trim().split('\n');
  const why = lines.find((line) => line.includes('ERROR')) ?? lines.at(-1) ?? '';
  console.error(`Elasticsearch could not be put together from Maven Central: ${why}`);
  process.exit(1);
}

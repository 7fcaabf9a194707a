import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { copyFileSync, mkdirSync, readFileSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { eventually, freePort } from '@answerline/testing';

/** A nats-server with the configuration of docker-compose.yml. */
export interface NatsOfCompose {
  /** The address in the secret nats_url, with the host and port of this one. */
  urlFrom(secret: string): string;
  stop(): Promise<void>;
}

const configuration = fileURLToPath(new URL('../../deploy/nats.conf', import.meta.url));
const STARTS_WITHIN_MS = 20_000;

/** Starts nats-server with deploy/nats.conf, of which only the folder, the addresses and the ports are replaced. */
export async function startNatsOfCompose(options: {
  readonly dir: string;
  readonly program: string;
  readonly secretsDir: string;
}): Promise<NatsOfCompose> {
  const { dir, program, secretsDir } = options;
  mkdirSync(dir);
  const [port, healthPort] = [await freePort(), await freePort()];
  const replaced: readonly (readonly [string, string])[] = [
    ['host: 0.0.0.0', 'host: 127.0.0.1'],
    ['port: 4222', `port: ${String(port)}`],
    ['"127.0.0.1:8222"', `"127.0.0.1:${String(healthPort)}"`],
    ['store_dir: /data', `store_dir: ${JSON.stringify(join(dir, 'data'))}`],
  ];
  let text = readFileSync(configuration, 'utf8');
  for (const [from, to] of replaced) {
    if (!text.includes(from)) throw new Error(`deploy/nats.conf has no "${from}" to replace.`);
    text = text.replace(from, to);
  }
  writeFileSync(join(dir, 'answerline.conf'), text);
  copyFileSync(join(secretsDir, 'nats_users'), join(dir, 'users.conf'));
  const server = spawn(program, ['--config', join(dir, 'answerline.conf')], { stdio: ['ignore', 'ignore', 'pipe'] });
  let log = '';
  server.stderr.on('data', (line: Buffer) => (log += line.toString()));
  const ended = once(server, 'close');
  await eventually(
    async () => {
      if (server.exitCode !== null) throw new Error(`it ended:\n${log}`);
      return (await fetch(`http://127.0.0.1:${String(healthPort)}/healthz`)).status === 200;
    },
    { what: 'nats-server is healthy', timeoutMs: STARTS_WITHIN_MS },
  );
  return {
    urlFrom: (secret) => secret.replace(/@.*$/, `@127.0.0.1:${String(port)}`),
    stop: async () => {
      server.kill('SIGTERM');
      await ended;
    },
  };
}

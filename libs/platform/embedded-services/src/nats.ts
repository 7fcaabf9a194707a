import { randomBytes } from 'node:crypto';
import { existsSync, readFileSync, writeFileSync } from 'node:fs';
import { connect } from 'node:net';
import { join, resolve } from 'node:path';
import { setTimeout as delay } from 'node:timers/promises';
import { Unexpected } from '@answerline/errors';
import { findNatsServer } from './find-nats-server.ts';
import { freePort, requireFreePort } from './free-port.ts';
import {
  claimServiceDir,
  lastLines,
  releaseServiceDir,
  serviceRunsIn,
  startServiceProcess,
  type ServiceProcess,
} from './service-process.ts';

export interface EmbeddedNatsOptions {
  /** A folder of its own: streams, token, configuration, log. Made when missing. */
  readonly dataDir: string;
  /** Any free port when left out. */
  readonly port?: number | undefined;
  /** The setting to name when `port` is taken. */
  readonly portSetting?: string;
  readonly host?: string;
  /** What clients must show. Random and kept in `dataDir` when left out. */
  readonly token?: string | undefined;
  /** The nats-server program; searched, fetched or built ({@link findNatsServer}) when left out. */
  readonly program?: string | undefined;
  /** Gets one plain line for each step that may take seconds. */
  readonly onProgress?: (line: string) => void;
}

export interface EmbeddedNats extends ServiceProcess {
  /** `nats://host:port`, without the token. */
  readonly url: string;
  readonly token: string;
}

/** Meta's largest body is 3 MB; NATS's own default of 1 MiB refuses it. */
const maxPayloadBytes = 4 * 1024 * 1024;
/** A ceiling, nothing is set aside: the streams reserve 8 GiB in standalone and 16 GiB with the sizes of production. */
const maxFileStoreBytes = 32 * 1024 ** 3;
/** It recovers its streams before it listens: GB on a slow disk take a while. */
const startDeadlineMs = 60_000;
const pollMs = 10;
const logFile = (dir: string) => join(dir, 'nats.log');
const configurationFile = (dir: string) => join(dir, 'nats.conf');
/** Host, port and token out of {@link configurationText}. */
const configurationShape = /^host: (".*")\nport: (\d+)\nauthorization \{ token: (".*") \}$/m;

/**
 * Starts nats-server with JetStream in `dataDir`, on loopback with a token. What was acknowledged survives a kill -9 of it;
 * a power cut may take the last second (`sync_interval`). One that a killed run left behind in that folder is stopped first.
 *
 * Throws InvalidInput `port_unavailable`, `data_dir_in_use`, `nats_server_missing`; Unexpected `nats_start_failed`.
 */
export async function startEmbeddedNats(options: EmbeddedNatsOptions): Promise<EmbeddedNats> {
  const { host = '127.0.0.1', portSetting = 'the port', onProgress = () => undefined } = options;
  const dir = resolve(options.dataDir);
  const program = options.program ?? (await findNatsServer({ onProgress }));
  await claimServiceDir(dir, 'nats-server', 'SIGTERM', onProgress);
  try {
    if (options.port !== undefined) await requireFreePort(options.port, host, 'nats-server', portSetting);
    const port = options.port ?? (await freePort(host));
    const token = options.token ?? storedToken(dir);
    const serverName = `answerline-${randomBytes(6).toString('hex')}`;
    const configuration = configurationFile(dir);
    writeFileSync(configuration, configurationText({ serverName, host, port, token, dir }), { mode: 0o600 });
    const args = ['--config', configuration];
    const server = await startServiceProcess({
      dir,
      file: program,
      args,
      stopSignal: 'SIGTERM',
      logFile: logFile(dir),
    });
    if (!(await becomesReady(server, host, port, serverName))) {
      await server.stop();
      const log = lastLines(logFile(dir));
      throw new Unexpected('nats_start_failed', `nats-server did not start. The end of ${logFile(dir)}:\n${log}`);
    }
    return { ...server, url: `nats://${host}:${port}`, token };
  } catch (error) {
    releaseServiceDir(dir);
    throw error;
  }
}

/** Where the embedded nats-server that runs in `dataDir` takes connections, for another process; undefined when none runs. */
export function runningNats(dataDir: string): Pick<EmbeddedNats, 'url' | 'token'> | undefined {
  const dir = resolve(dataDir);
  if (!serviceRunsIn(dir)) return undefined;
  const [, host, port, token] = configurationShape.exec(readFileSync(configurationFile(dir), 'utf8')) ?? [];
  if (host === undefined || port === undefined || token === undefined) return undefined;
  return { url: `nats://${JSON.parse(host) as string}:${port}`, token: JSON.parse(token) as string };
}

function storedToken(dir: string): string {
  const file = join(dir, 'token');
  if (!existsSync(file)) writeFileSync(file, `${randomBytes(24).toString('base64url')}\n`, { mode: 0o600 });
  return readFileSync(file, 'utf8').trim();
}

function configurationText(c: { serverName: string; host: string; port: number; token: string; dir: string }): string {
  return `# Written at each start.
server_name: ${JSON.stringify(c.serverName)}
host: ${JSON.stringify(c.host)}
port: ${c.port}
authorization { token: ${JSON.stringify(c.token)} }
max_payload: ${maxPayloadBytes}
jetstream {
  store_dir: ${JSON.stringify(c.dir)}
  max_file_store: ${maxFileStoreBytes}
  sync_interval: 1s
}
`;
}

/** It is ready when it greets a connection with an INFO line that carries the name of this start. */
async function becomesReady(server: ServiceProcess, host: string, port: number, serverName: string): Promise<boolean> {
  let ended = false;
  void server.exited.then(() => (ended = true));
  const deadline = Date.now() + startDeadlineMs;
  while (!ended && Date.now() < deadline) {
    if ((await greeting(host, port)).includes(`"server_name":"${serverName}"`)) return true;
    await delay(pollMs);
  }
  return false;
}

function greeting(host: string, port: number): Promise<string> {
  return new Promise((fulfil) => {
    let text = '';
    const socket = connect({ host, port });
    socket.setTimeout(1_000, () => socket.destroy());
    socket.on('data', (chunk) => {
      text += chunk.toString();
      if (text.includes('\r\n')) socket.destroy();
    });
    socket.on('error', () => undefined);
    socket.on('close', () => fulfil(text));
  });
}

import { join, resolve } from 'node:path';
import { fileURLToPath } from 'node:url';
import { ConfigError, loadConfig, readEnvironment, type Config, type Environment } from '@answerline/config';
import { freePort } from '@answerline/embedded-services';
import { runProcess, type StartingProcess } from '@answerline/lifecycle';
import { SANDBOX_SENDER } from '@answerline/mail';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { migrateDatabase } from '@answerline/persistence';
import { checkedStart, commonSettings } from '@answerline/process-parts';
import { ensureDemo, waitingLine } from './demo.ts';
import { startMissingServices } from './embedded-parts.ts';
import { withGeneratedSecrets } from './generated-secrets.ts';
import { supervise } from './supervise.ts';

/** The four processes, in the order of their ports: PORT, PORT + 1 and so on. */
const apps = ['gateway', 'ingest', 'rag', 'notifier'] as const;
type AppName = (typeof apps)[number];

/** On the terminal of somebody who tries it out, only what needs attention; LOG_LEVEL changes it. */
const QUIET = 'warn';
/** Leaves a process that ended alone, for those who want to see what happens then. */
const NO_RESTART = '--no-restart';
/** The services below the processes need this much of the time to stop. */
const SERVICES_STOP_MS = 5_000;

const mailboxNames = ['SMTP_URL', 'MAIL_FROM', 'SANDBOX_SMTP_PORT'] as const;

runProcess({ name: 'answerline', start });

/**
 * Gateway, ingest, rag and notifier each as a process of its own, against one Postgres and one NATS, with the sandbox as a
 * fifth. What ends is started again. On a stop the processes go first, then the services.
 */
async function start(starting: StartingProcess): Promise<void> {
  const outer = readEnvironment();
  const dataDir = resolve(outer['DATA_DIR'] || '.answerline');
  const { env, generated } = withGeneratedSecrets({ LOG_LEVEL: QUIET, ...outer, DATA_DIR: dataDir }, dataDir);
  const config = loadConfig([...commonSettings, ...mailboxNames, 'ENCRYPTION_KEYS', 'OPERATOR_KEY', 'GRPC_PORT'], env, {
    required: ['ENCRYPTION_KEYS', 'OPERATOR_KEY'],
  });
  const lastPort = config.PORT + apps.length - 1;
  if (config.PORT === 0 || lastPort > 65_535) {
    throw new ConfigError([`PORT must leave room for ${String(apps.length)} ports in a row, for example PORT=3000`]);
  }
  const { hasSandbox } = checkedStart(starting, 'services', config, outer, generated);
  starting.onStop('connections', () => closeOperatorConnections());

  const { databaseUrl, natsUrl, natsToken } = await startMissingServices(starting, config, say);
  say('Preparing the database …');
  await migrateDatabase(databaseUrl);

  const host = ['0.0.0.0', '::'].includes(config.HOST) ? '127.0.0.1' : config.HOST;
  const grpcPort = config.GRPC_PORT ?? (await freePort(host));
  const publicUrl = config.PUBLIC_URL ?? `http://localhost:${String(config.PORT)}`;
  const shared: Environment = {
    ...env,
    // Only what nobody gave us: a setting may also stand in the file that <name>_FILE names.
    ...(config.DATABASE_URL === undefined ? { DATABASE_URL: databaseUrl } : {}),
    ...(config.NATS_URL === undefined ? { NATS_URL: withToken(natsUrl, natsToken) } : {}),
    GRPC_PORT: String(grpcPort),
    PUBLIC_URL: publicUrl,
    ...(await mailboxSettings(hasSandbox, config)),
    RAG_URL: `grpc://${host}:${String(grpcPort)}`,
  };
  const portOf = (app: AppName): number => config.PORT + apps.indexOf(app);
  const urlOf = (app: AppName): string => `http://${host}:${String(portOf(app))}`;
  const sandboxUrl = `http://127.0.0.1:${String(config.SANDBOX_PORT)}`;
  const programOf = (app: string): string => fileURLToPath(new URL(`../../${app}/dist/main.js`, import.meta.url));
  const isRestarting = !process.argv.includes(NO_RESTART);

  let gatewayIsUp = false;
  /** Also after a restart of the sandbox, which has forgotten its numbers. */
  const makeDemo = async (): Promise<void> => {
    if (!hasSandbox || !gatewayIsUp) return;
    const operatorKey = config.OPERATOR_KEY.reveal();
    const file = join(dataDir, 'demo.json');
    const waitsFor = await ensureDemo({ baseUrl: urlOf('gateway'), publicUrl, sandboxUrl, operatorKey, file });
    if (waitsFor !== null) say(waitingLine(waitsFor));
  };
  if (hasSandbox) {
    const sandbox = supervise({
      name: 'sandbox',
      file: programOf('sandbox'),
      env: { ...shared, HOST: '127.0.0.1' },
      healthUrl: `${sandboxUrl}/health/live`,
      onReady: makeDemo,
      restart: isRestarting,
      say,
    });
    starting.onStop('sandbox', (withinMs) => sandbox.stop(withinMs));
    await sandbox.ready;
  }
  const processes = apps.map((app) =>
    supervise({
      name: app,
      file: programOf(app),
      env: { ...shared, PORT: String(portOf(app)) },
      healthUrl: `${urlOf(app)}/health/ready`,
      restart: isRestarting,
      say,
    }),
  );
  starting.onStop('processes', (withinMs) =>
    Promise.all(processes.map((app) => app.stop(Math.max(0, withinMs - SERVICES_STOP_MS)))),
  );
  await Promise.all(processes.map(({ ready }) => ready));
  gatewayIsUp = true;
  await makeDemo();

  say('');
  say('Answerline ready');
  if (hasSandbox) say(`  Phone     ${sandboxUrl}   write to the demo bakery (a simulator, not Meta)`);
  say(`  API       ${config.PUBLIC_URL ?? `http://localhost:${String(config.PORT)}`}/api/docs`);
  if (hasSandbox) say(`  Keys      ${join(dataDir, 'demo.json')}`);
  for (const app of apps) say(`  ${app.padEnd(9)} ${urlOf(app)}/health/ready`);
  say('Stop with Ctrl-C.');
}

/** The sandbox is the mail server where there is no other. */
async function mailboxSettings(
  hasSandbox: boolean,
  config: Config<(typeof mailboxNames)[number]>,
): Promise<Environment> {
  if (!hasSandbox || config.SMTP_URL !== undefined) return {};
  const port = String(config.SANDBOX_SMTP_PORT || (await freePort('127.0.0.1')));
  return {
    SANDBOX_SMTP_PORT: port,
    SMTP_URL: `smtp://127.0.0.1:${port}`,
    MAIL_FROM: config.MAIL_FROM ?? SANDBOX_SENDER,
  };
}

function withToken(natsUrl: string, token: string | undefined): string {
  return token === undefined ? natsUrl : natsUrl.replace('://', `://${encodeURIComponent(token)}@`);
}

function say(line: string): void {
  process.stdout.write(`${line}\n`);
}

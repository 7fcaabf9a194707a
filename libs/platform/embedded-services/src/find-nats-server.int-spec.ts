import { execFileSync } from 'node:child_process';
import { createHash } from 'node:crypto';
import { once } from 'node:events';
import { chmod, mkdir, readdir, readFile, writeFile } from 'node:fs/promises';
import { createServer, type Server } from 'node:http';
import type { AddressInfo } from 'node:net';
import { join } from 'node:path';
import { tempDir } from '@answerline/testing';
import { afterEach, beforeEach, describe, expect, it } from '@jest/globals';
import { findNatsServer } from './find-nats-server.ts';

const platform = `${process.platform}-${process.arch}`;
const answering = (version: string) => `#!/bin/sh\necho 'nats-server: v${version}'\n`;

async function script(file: string, text: string): Promise<void> {
  await writeFile(file, text);
  await chmod(file, 0o755);
}

describe('findNatsServer', () => {
  let binDir: string;
  let cacheDir: string;
  let progress: string[];
  const find = (releases = {}) =>
    findNatsServer({
      cacheDir,
      releases,
      // Nothing but the fakes and the system's own tools.
      env: { PATH: `${binDir}:/usr/bin:/bin` },
      onProgress: (line) => progress.push(line),
    });

  beforeEach(async () => {
    const dir = await tempDir();
    [binDir, cacheDir, progress] = [join(dir, 'bin'), join(dir, 'cache'), []];
    await mkdir(binDir);
    await script(join(binDir, 'go'), '#!/bin/sh\necho "no network" >&2\nexit 1\n');
  });

  const servers: Server[] = [];
  afterEach(() => {
    for (const server of servers.splice(0)) {
      server.close();
      server.closeAllConnections();
    }
  });

  /** Serves a release whose archive holds a program that answers `version`. */
  async function serveRelease(version: string) {
    const dir = await tempDir();
    await mkdir(join(dir, 'nats-server-release'));
    await script(join(dir, 'nats-server-release/nats-server'), answering(version));
    execFileSync('tar', ['-czf', 'release.tar.gz', 'nats-server-release'], { cwd: dir });
    const archive = await readFile(join(dir, 'release.tar.gz'));
    const server = createServer((request, response) => {
      if (request.url === '/release.tar.gz') response.end(archive);
      else response.writeHead(404).end();
    });
    server.listen(0, '127.0.0.1');
    await once(server, 'listening');
    servers.push(server);
    const base = `http://127.0.0.1:${(server.address() as AddressInfo).port}`;
    return {
      url: `${base}/release.tar.gz`,
      missing: `${base}/nothing`,
      sha256: createHash('sha256').update(archive).digest('hex'),
    };
  }

  it('takes the one on PATH when it is new enough', async () => {
    await script(join(binDir, 'nats-server'), answering('2.11.0'));
    expect(await find()).toBe('nats-server');
    expect(progress).toEqual([]);
  });

  it('says when the one on PATH is too old, and builds one with Go', async () => {
    await script(join(binDir, 'nats-server'), answering('2.10.29'));
    await script(
      join(binDir, 'go'),
      `#!/bin/sh\nprintf '%s' "$*" > "${binDir}/asked"\nprintf '%s\\n' '#!/bin/sh' 'echo nats-server: v2.15.2' > "$GOBIN/nats-server"\nchmod +x "$GOBIN/nats-server"\n`,
    );
    const program = await find();
    expect(program).toBe(join(cacheDir, 'nats-server-2.15.2/nats-server'));
    expect(await readFile(join(binDir, 'asked'), 'utf8')).toBe('install github.com/nats-io/nats-server/v2@v2.15.2');
    expect(progress).toEqual([
      'The nats-server on PATH is 2.10.29, older than 2.11: not used',
      'Building nats-server 2.15.2 with Go (about 100 s, once)',
    ]);
    expect(await find()).toBe(program);
    expect(progress).toHaveLength(3);
  });

  it('fetches the pinned release and keeps it', async () => {
    const { url, sha256 } = await serveRelease('2.15.0');
    const releases = { [platform]: { version: '2.15.0', url, sha256 } };
    const program = await find(releases);
    expect(program).toBe(join(cacheDir, 'nats-server-2.15.0/nats-server'));
    expect(await find(releases)).toBe(program);
    expect(progress).toEqual(['Fetching nats-server 2.15.0']);
    expect(await readdir(cacheDir)).toEqual(['nats-server-2.15.0']);
  });

  it('never keeps a release whose checksum differs', async () => {
    const { url } = await serveRelease('2.15.0');
    const wanted = '0'.repeat(64);
    await expect(find({ [platform]: { version: '2.15.0', url, sha256: wanted } })).rejects.toThrow(`not ${wanted}`);
    expect(await readdir(cacheDir)).toEqual([]);
  });

  it('fetches again when what the cache holds does not run', async () => {
    await mkdir(join(cacheDir, 'nats-server-2.15.0'), { recursive: true });
    await script(join(cacheDir, 'nats-server-2.15.0/nats-server'), '');
    const { url, sha256 } = await serveRelease('2.15.0');
    await find({ [platform]: { version: '2.15.0', url, sha256 } });
    expect(progress).toEqual(['Fetching nats-server 2.15.0']);
  });

  it('says in one error what to install and why each way failed', async () => {
    const { missing, sha256 } = await serveRelease('2.15.0');
    await expect(find({ [platform]: { version: '2.15.0', url: missing, sha256 } })).rejects.toMatchObject({
      code: 'nats_server_missing',
      message:
        'There is no nats-server 2.11 or newer. Install it (https://docs.nats.io), or install Go (https://go.dev/dl), or set ' +
        'NATS_URL. Tried: nats-server could not be fetched (the answer was 404); go failed: no network.',
    });
    expect(await readdir(cacheDir)).toEqual([]);
  });
});

import { once } from 'node:events';
import { createServer, type RequestListener, type Server } from 'node:http';
import { connect as connectTcp, createServer as createTcpServer, type AddressInfo, type Socket } from 'node:net';
import { gzipSync } from 'node:zlib';
import { afterEach, describe, expect, it } from '@jest/globals';
import { fetchUntrusted, type UntrustedRequest } from './fetch-untrusted.ts';

const servers: Server[] = [];
afterEach(() => {
  servers.splice(0).forEach((server) => {
    server.closeAllConnections();
    server.close();
  });
});

/** A public server as a stranger's URL would reach it: names resolve to a public address, whose traffic comes here. */
async function publicServer(listener: RequestListener) {
  const server = createServer(listener);
  servers.push(server);
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const { port } = server.address() as AddressInfo;
  const dialled: string[] = [];
  const resolved: string[] = [];
  const fetch = (url: string, more: Partial<UntrustedRequest> = {}) =>
    fetchUntrusted(url, {
      timeoutMs: 5_000,
      maxBytes: 1_000,
      resolve: async (hostname) => {
        resolved.push(hostname);
        return ['93.184.216.34'];
      },
      connect: (address, wanted) => {
        dialled.push(`${address}:${wanted}`);
        return connectTcp(port, '127.0.0.1');
      },
      ...more,
    });
  return { fetch, dialled, resolved, port };
}
const codeOf = (promise: Promise<unknown>) =>
  promise.then(
    () => 'answered',
    (error: { code?: string }) => error.code,
  );
const refused = (url: string, addresses: readonly string[] = ['93.184.216.34']) => {
  let isTouched = false;
  const request = fetchUntrusted(url, {
    timeoutMs: 1_000,
    maxBytes: 1_000,
    resolve: async () => addresses,
    connect: () => {
      isTouched = true;
      throw new Error('A refused target was dialled');
    },
  });
  return codeOf(request).then((code) => (isTouched ? 'dialled' : code));
};

describe('fetchUntrusted refuses, without a single packet,', () => {
  it.each([
    'http://127.0.0.1/',
    'http://127.0.0.1:80/',
    'http://127.1/',
    'http://127.0.1/',
    'http://2130706433/',
    'http://017700000001/',
    'http://0177.0.0.1/',
    'http://0x7f.0.0.1/',
    'http://0x7f000001/',
    'http://0x7F.1/',
    'http://127.0.0.1./',
    'http://１２７.０.０.１/',
    'http://127。0。0。1/',
    'http://%31%32%37.0.0.1/',
    'http://127.255.255.254/',
    'http://0.0.0.0/',
    'http://0/',
    'http://0.1.2.3/',
    'http://10.0.0.1/',
    'http://012.0.0.1/',
    'http://172.16.0.1/',
    'http://172.31.255.255/',
    'http://192.168.0.1/',
    'http://3232235521/',
    'http://169.254.169.254/latest/meta-data/',
    'http://0xa9fea9fe/',
    'http://2852039166/',
    'http://168.63.129.16/',
    'http://100.64.0.1/',
    'http://100.100.100.200/',
    'http://192.0.0.192/',
    'http://192.0.2.1/',
    'http://192.88.99.1/',
    'http://198.18.0.1/',
    'http://198.51.100.1/',
    'http://203.0.113.1/',
    'http://224.0.0.1/',
    'http://239.255.255.255/',
    'http://240.0.0.1/',
    'http://255.255.255.255/',
    'https://[::1]/',
    'http://[::]/',
    'http://[0:0:0:0:0:0:0:1]/',
    'http://[::127.0.0.1]/',
    'http://[::ffff:127.0.0.1]/',
    'http://[::ffff:7f00:1]/',
    'http://[::ffff:8.8.8.8]/',
    'http://[::ffff:0:127.0.0.1]/',
    'http://[64:ff9b::7f00:1]/',
    'http://[64:ff9b::8.8.8.8]/',
    'http://[64:ff9b:1::a00:1]/',
    'http://[2002:7f00:1::]/',
    'http://[2001:0:7f00:1::]/',
    'http://[2001:db8::1]/',
    'http://[3fff::1]/',
    'http://[fe80::1]/',
    'http://[fec0::1]/',
    'http://[fc00::1]/',
    'http://[fd00:ec2::254]/',
    'http://[ff02::1]/',
    'http://[100::1]/',
    'http://[5f00::1]/',
    'http://[4000::1]/',
  ])('%s', async (url) => {
    expect(await refused(url)).toBe('url_address_refused');
  });

  it.each([
    ['127.0.0.1'],
    ['10.1.2.3'],
    ['169.254.169.254'],
    ['::1'],
    ['::ffff:169.254.169.254'],
    ['fe80::1%eth0'],
    ['0177.0.0.1'],
    ['not an address'],
    ['93.184.216.34', '10.0.0.1'],
    ['10.0.0.1', '93.184.216.34'],
  ])('a name with the addresses %s %s', async (...addresses) => {
    expect(await refused('https://shop.example/', addresses)).toBe('url_address_refused');
  });

  it.each([
    ['file:///etc/passwd', 'url_scheme_refused'],
    ['ftp://shop.example/', 'url_scheme_refused'],
    ['gopher://shop.example/', 'url_scheme_refused'],
    ['javascript:alert(1)', 'url_scheme_refused'],
    ['data:text/plain,x', 'url_scheme_refused'],
    ['http://shop.example:8080/', 'url_port_refused'],
    ['http://shop.example:22/', 'url_port_refused'],
    ['https://shop.example:5432/', 'url_port_refused'],
    ['http://user:password@shop.example/', 'url_credentials_refused'],
    ['http://user@shop.example/', 'url_credentials_refused'],
    ['shop.example', 'url_invalid'],
    ['http://', 'url_invalid'],
    ['http://1.2.3.4.5/', 'url_invalid'],
    ['http://[fe80::1%25eth0]/', 'url_invalid'],
    ['', 'url_invalid'],
  ])('%s with %s', async (url, code) => {
    expect(await refused(url)).toBe(code);
  });
});

describe('fetchUntrusted', () => {
  it('fetches what is public, over the address that was checked, under the name that was given', async () => {
    const { fetch, dialled, resolved } = await publicServer((request, response) =>
      response.end(`${request.headers.host} ${request.url}`),
    );
    const { status, body, url } = await fetch('http://shop.example/page?a=1');
    expect([status, body.toString(), url]).toEqual([200, 'shop.example /page?a=1', 'http://shop.example/page?a=1']);
    expect(resolved).toEqual(['shop.example']);
    expect(dialled).toEqual(['93.184.216.34:80']);
  });

  it('asks for a name once, so that a second answer cannot lead elsewhere', async () => {
    const answers = [['93.184.216.34'], ['127.0.0.1']];
    const { fetch, dialled } = await publicServer((_request, response) => response.end('x'));
    await fetch('http://shop.example/', { resolve: async () => answers.shift() ?? [] });
    expect(dialled).toEqual(['93.184.216.34:80']);
    expect(answers).toHaveLength(1);
  });

  it('prefers IPv4, and goes on to the next address when one takes no connection', async () => {
    const closed = createTcpServer().listen(0, '127.0.0.1');
    await once(closed, 'listening');
    const { port: closedPort } = closed.address() as AddressInfo;
    closed.close();
    await once(closed, 'close');
    const { fetch, port } = await publicServer((_request, response) => response.end('x'));
    const dialled: string[] = [];
    const connect = (address: string): Socket => {
      dialled.push(address);
      return connectTcp(dialled.length === 1 ? closedPort : port, '127.0.0.1');
    };
    const resolve = async () => ['2606:2800:220:1::1', '93.184.216.34', '93.184.216.35'];
    expect((await fetch('http://shop.example/', { connect, resolve })).status).toBe(200);
    expect(dialled).toEqual(['93.184.216.34', '93.184.216.35']);
  });

  it('uses TLS for https, and trusts no certificate but a right one', async () => {
    const { fetch, dialled } = await publicServer((_request, response) => response.end('x'));
    await expect(fetch('https://shop.example/')).rejects.toMatchObject({
      code: 'outbound_tls_failed',
      delivery: 'not_sent',
    });
    expect(dialled).toEqual(['93.184.216.34:443']);
  });

  it('says that a name has no address', async () => {
    const { fetch } = await publicServer(() => {});
    const missing = Object.assign(new Error('no'), { code: 'ENOTFOUND' });
    for (const resolve of [() => Promise.reject(missing), async () => []]) {
      await expect(fetch('http://shop.example/', { resolve })).rejects.toMatchObject({
        code: 'outbound_dns_failed',
        delivery: 'not_sent',
      });
    }
  });

  it.each([
    ['as it comes', {}, Buffer.alloc(2_000)],
    ['after decompression', { 'content-encoding': 'gzip' }, gzipSync(Buffer.alloc(200_000))],
  ])('bounds the body %s', async (_what, headers, body) => {
    const { fetch } = await publicServer((_request, response) => response.writeHead(200, headers).end(body));
    expect(await codeOf(fetch('http://shop.example/'))).toBe('outbound_response_too_large');
  });

  it('has one deadline for names, redirects and answers', async () => {
    const { fetch } = await publicServer((request, response) => {
      if (request.url === '/redirects') response.writeHead(302, { location: '/hangs' }).end();
    });
    const timeoutMs = 100;
    expect(await codeOf(fetch('http://shop.example/hangs', { timeoutMs }))).toBe('outbound_timeout');
    expect(await codeOf(fetch('http://shop.example/redirects', { timeoutMs }))).toBe('outbound_timeout');
    const resolve = () => new Promise<string[]>(() => {});
    expect(await codeOf(fetch('http://shop.example/', { timeoutMs, resolve }))).toBe('outbound_timeout');
    const signal = AbortSignal.abort();
    expect(await codeOf(fetch('http://shop.example/', { signal, resolve }))).toBe('outbound_aborted');
  });

  it('has a deadline for addresses that never take the connection', async () => {
    const { fetch } = await publicServer(() => {});
    // A socket that was never told to connect stays as silent as a dropped packet.
    const { Socket } = await import('node:net');
    await expect(fetch('http://shop.example/', { timeoutMs: 100, connect: () => new Socket() })).rejects.toMatchObject({
      code: 'outbound_timeout',
      delivery: 'not_sent',
    });
  });
});

describe('a redirect', () => {
  const redirectTo = (location: string, status = 302) =>
    publicServer((request, response) => {
      if (request.url === '/start') response.writeHead(status, { location }).end('moved');
      else response.end(`${request.method} ${request.url} ${JSON.stringify(request.headers)}`);
    });

  it('is followed, relative or not', async () => {
    for (const location of ['/end', 'http://shop.example/end', '//other.example/end']) {
      const { fetch } = await redirectTo(location);
      const { body, url } = await fetch('http://shop.example/start');
      expect(body.toString()).toMatch(/^GET \/end /);
      expect(url).toMatch(/^http:\/\/(shop|other)\.example\/end$/);
    }
  });

  it.each([
    ['http://127.0.0.1/', 'url_address_refused'],
    ['http://[::ffff:10.0.0.1]/', 'url_address_refused'],
    ['http://shop.example:9200/', 'url_port_refused'],
    ['file:///etc/passwd', 'url_scheme_refused'],
    ['http://user:password@shop.example/', 'url_credentials_refused'],
    ['http://', 'url_invalid'],
  ])('to %s is refused with %s', async (location, code) => {
    const { fetch } = await redirectTo(location);
    expect(await codeOf(fetch('http://shop.example/start'))).toBe(code);
  });

  it('to a name that is private is refused', async () => {
    const { fetch } = await redirectTo('http://inside.example/');
    const resolve = async (host: string) => (host === 'inside.example' ? ['10.0.0.1'] : ['93.184.216.34']);
    expect(await codeOf(fetch('http://shop.example/start', { resolve }))).toBe('url_address_refused');
  });

  it('is followed 5 times, not 6', async () => {
    const { fetch } = await publicServer((request, response) => {
      const left = Number(request.url?.slice(1));
      if (left === 0) response.end('there');
      else response.writeHead(301, { location: `/${left - 1}` }).end();
    });
    expect((await fetch('http://shop.example/5')).body.toString()).toBe('there');
    expect(await codeOf(fetch('http://shop.example/6'))).toBe('url_too_many_redirects');
  });

  it('to the same origin keeps headers, to another only the harmless ones', async () => {
    const headers = { authorization: 'secret', cookie: 'secret', 'x-api-key': 'secret', accept: 'text/html' };
    const same = await redirectTo('/end');
    expect((await same.fetch('http://shop.example/start', { headers })).body.toString().match(/secret/g)).toHaveLength(
      3,
    );
    for (const location of ['http://other.example/end', 'http://sub.shop.example/end', 'http://shop.example:443/end']) {
      const other = await redirectTo(location);
      const text = (await other.fetch('http://shop.example/start', { headers })).body.toString();
      expect(text).not.toContain('secret');
      expect(text).toContain('text/html');
    }
  });

  it.each([
    [301, 'POST', 'GET'],
    [302, 'POST', 'GET'],
    [303, 'PUT', 'GET'],
    [303, 'HEAD', 'HEAD'],
    [307, 'POST', 'POST'],
    [308, 'PUT', 'PUT'],
    [302, 'DELETE', 'DELETE'],
  ] as const)('%d turns %s into %s', async (status, method, then) => {
    const methods: unknown[] = [];
    const { fetch } = await publicServer((request, response) => {
      methods.push([request.method, request.headers['content-type'] ?? null]);
      if (request.url === '/start') response.writeHead(status, { location: '/end' }).end();
      else response.end();
    });
    const withBody = method === 'POST' || method === 'PUT';
    const more = withBody ? { body: '{}', headers: { 'content-type': 'application/json' } } : {};
    await fetch('http://shop.example/start', { method, ...more });
    const type = withBody ? 'application/json' : null;
    expect(methods).toEqual([
      [method, type],
      [then, then === method ? type : null],
    ]);
  });

  it('takes no body to another origin', async () => {
    const { fetch } = await redirectTo('http://other.example/end', 307);
    expect(await codeOf(fetch('http://shop.example/start', { method: 'POST', body: 'x' }))).toBe(
      'url_redirect_refused',
    );
  });

  it('without an address is an answer', async () => {
    const { fetch } = await publicServer((_request, response) => response.writeHead(304).end());
    expect((await fetch('http://shop.example/')).status).toBe(304);
  });
});

import { lookup } from 'node:dns/promises';
import { connect as connectTcp, isIP, type Socket } from 'node:net';
import { connect as connectTls } from 'node:tls';
import { Client } from 'undici';
import { exchange, type HttpMethod, type HttpResponse, type RequestHeaders } from './exchange.ts';
import { OutboundError, UrlRefused } from './outbound-error.ts';
import { isPublicAddress } from './public-address.ts';

/** Enough for http → https → www → language → page. */
const maxRedirects = 5;
/** A name with many dead addresses must not use up the deadline of everything. */
const maxAddresses = 3;

export interface UntrustedRequest {
  readonly method?: HttpMethod;
  readonly headers?: RequestHeaders;
  readonly body?: string | Uint8Array;
  /** For everything: names, redirects, and the last byte of the answer. */
  readonly timeoutMs: number;
  /** Of a body, as it comes and after decompression. */
  readonly maxBytes: number;
  readonly signal?: AbortSignal;
  /** All addresses of a name. */
  readonly resolve?: (hostname: string) => Promise<readonly string[]>;
  /** Begins a TCP connection to an address that was checked. */
  readonly connect?: (address: string, port: number) => Socket;
}

/**
 * A request to an address that a user or Meta gave. Only http and https on ports 80 and 443, only public addresses: the name is
 * resolved once and the connection goes to the very address that was checked. At most 5 redirects, each checked alike; to
 * another origin no header goes along but the harmless ones, and no body.
 *
 * @returns the answer, whatever its status, with the `url` it came from
 * @throws UrlRefused with the reason as `code`; OutboundError as `fetchOperator`
 */
export async function fetchUntrusted(
  url: string,
  request: UntrustedRequest,
): Promise<HttpResponse & { readonly url: string }> {
  const endsAt = performance.now() + request.timeoutMs;
  let target = checkedUrl(url);
  let { method = 'GET', headers = {}, body } = request;
  for (let redirects = 0; ; redirects += 1) {
    const timeoutMs = Math.max(0, endsAt - performance.now());
    const response = await fetchOnce(target, { ...request, method, headers, body, timeoutMs });
    const location = redirectOf(response);
    if (location === undefined) return { ...response, url: target.href };
    if (redirects === maxRedirects) throw new UrlRefused('url_too_many_redirects', 'The address redirects too often.');
    const next = checkedUrl(location, target);
    // RFC 9110 15.4: 303 always asks for a GET, and 301 and 302 turn a POST into one, as every browser does.
    if ((response.status === 303 && method !== 'HEAD') || (response.status <= 302 && method === 'POST')) {
      method = 'GET';
      body = undefined;
      headers = without(headers, /^content-/);
    }
    if (next.origin !== target.origin) {
      if (body !== undefined) throw new UrlRefused('url_redirect_refused', 'The address redirects a body elsewhere.');
      headers = harmless(headers);
    }
    target = next;
  }
}

function checkedUrl(text: string, base?: URL): URL {
  const url = URL.parse(text, base?.href);
  if (url === null) throw new UrlRefused('url_invalid', 'This is not an address of the web.');
  if (url.protocol !== 'http:' && url.protocol !== 'https:') {
    throw new UrlRefused('url_scheme_refused', 'Only http and https addresses can be fetched.');
  }
  if (url.username !== '' || url.password !== '') {
    throw new UrlRefused('url_credentials_refused', 'The address must not contain a user name or password.');
  }
  if (!['', '80', '443'].includes(url.port)) {
    throw new UrlRefused('url_port_refused', 'Only the ports 80 and 443 can be fetched.');
  }
  return url;
}

type Hop = Omit<UntrustedRequest, 'method' | 'headers' | 'body'> & {
  readonly method: HttpMethod;
  readonly headers: RequestHeaders;
  readonly body: string | Uint8Array | undefined;
};

async function fetchOnce(url: URL, hop: Hop): Promise<HttpResponse> {
  const endsAt = performance.now() + hop.timeoutMs;
  const addresses = await checkedAddresses(url, hop);
  const sockets: Socket[] = [];
  let isOver = false;
  const keep = (socket: Socket) => {
    sockets.push(socket.on('error', () => {})); // between the listeners of others, an error must not be unheard
    if (isOver) socket.destroy();
    return socket;
  };
  const { connect = (address: string, port: number) => connectTcp({ host: address, port }) } = hop;
  const client = new Client(url.origin, {
    allowH2: false,
    headersTimeout: 0,
    bodyTimeout: 0,
    connect: (_options, callback) => {
      openSocket(url, addresses, connect, keep).then(
        (socket) => callback(null, socket),
        (error: unknown) => callback(error as Error, null),
      );
    },
  });
  const timeoutMs = Math.max(0, endsAt - performance.now());
  try {
    return await exchange(client, {
      url,
      method: hop.method,
      headers: { 'accept-encoding': 'gzip, br', ...hop.headers },
      body: hop.body,
      timeoutMs,
      startBy: endsAt,
      maxBytes: hop.maxBytes,
      signal: hop.signal,
    });
  } finally {
    isOver = true;
    sockets.forEach((socket) => socket.destroy());
    await client.destroy();
  }
}

/** The addresses of the URL's host, IPv4 first because not every network has IPv6. One that is not public refuses all. */
async function checkedAddresses(url: URL, hop: Hop): Promise<readonly string[]> {
  const host = hostOf(url);
  const addresses = isIP(host) ? [host] : await resolved(host, hop);
  if (!addresses.every(isPublicAddress)) {
    throw new UrlRefused('url_address_refused', 'The address does not lead to a public server.');
  }
  return addresses.toSorted((a, b) => isIP(a) - isIP(b)).slice(0, maxAddresses);
}

async function resolved(host: string, { resolve = lookUp, timeoutMs, signal }: Hop): Promise<readonly string[]> {
  let onEnd = () => {};
  // A look-up cannot be called off, only left alone.
  const limit = AbortSignal.any([AbortSignal.timeout(Math.ceil(timeoutMs)), ...(signal ? [signal] : [])]);
  const ended = new Promise<never>((_resolve, reject) => {
    onEnd = () => reject(new OutboundError(signal?.aborted ? 'outbound_aborted' : 'outbound_timeout', 'not_sent'));
    limit.addEventListener('abort', onEnd);
    if (limit.aborted) onEnd();
  });
  try {
    const addresses = await Promise.race([resolve(host), ended]);
    if (addresses.length === 0) throw new OutboundError('outbound_dns_failed', 'not_sent');
    return addresses;
  } catch (error) {
    throw error instanceof OutboundError ? error : new OutboundError('outbound_dns_failed', 'not_sent', error);
  } finally {
    limit.removeEventListener('abort', onEnd);
  }
}

const lookUp = async (hostname: string) => (await lookup(hostname, { all: true })).map(({ address }) => address);

/** A connection to the first address that takes one, with TLS for the URL's own name. Every socket goes through `keep`. */
async function openSocket(
  url: URL,
  addresses: readonly string[],
  connect: (address: string, port: number) => Socket,
  keep: (socket: Socket) => Socket,
): Promise<Socket> {
  const isTls = url.protocol === 'https:';
  const port = Number(url.port || (isTls ? 443 : 80));
  const tcp = await firstToConnect(addresses, (address) => keep(connect(address, port)));
  if (!isTls) return tcp;
  const host = hostOf(url);
  // An address is no server name (RFC 6066 3), but the certificate must be for it.
  const name = isIP(host) ? {} : { servername: host };
  return connected(keep(connectTls({ socket: tcp, host, ...name, ALPNProtocols: ['http/1.1'] })), 'secureConnect');
}

/** A name, or an address without the brackets that IPv6 has in a URL. */
const hostOf = (url: URL) => url.hostname.replace(/^\[(.*)\]$/, '$1');

async function firstToConnect(addresses: readonly string[], dial: (address: string) => Socket): Promise<Socket> {
  let failure: unknown;
  for (const address of addresses) {
    try {
      return await connected(dial(address), 'connect');
    } catch (error) {
      failure = error;
    }
  }
  throw failure;
}

function connected(socket: Socket, event: 'connect' | 'secureConnect'): Promise<Socket> {
  return new Promise((resolve, reject) => {
    const onClose = () => reject(Object.assign(new Error('Closed while connecting'), { code: 'ECONNRESET' }));
    socket.once('error', reject);
    socket.once('close', onClose);
    socket.once(event, () => {
      socket.off('error', reject);
      socket.off('close', onClose);
      resolve(socket);
    });
  });
}

/** Where a response sends us, if it does. */
function redirectOf({ status, headers }: HttpResponse): string | undefined {
  const location = headers.location;
  return [301, 302, 303, 307, 308].includes(status) && typeof location === 'string' ? location : undefined;
}

/** Says nothing about who asks. Everything else could be a credential under a name of its own. */
const harmlessNames: readonly string[] = ['accept', 'accept-language', 'user-agent'];
const harmless = (headers: RequestHeaders): RequestHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => harmlessNames.includes(name.toLowerCase())));

const without = (headers: RequestHeaders, names: RegExp): RequestHeaders =>
  Object.fromEntries(Object.entries(headers).filter(([name]) => !names.test(name.toLowerCase())));

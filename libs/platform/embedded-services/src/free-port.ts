import { randomInt } from 'node:crypto';
import { once } from 'node:events';
import { createServer } from 'node:net';
import { InvalidInput } from '@answerline/errors';

async function listenOnce(port: number, host: string): Promise<number> {
  const server = createServer();
  server.listen(port, host);
  await once(server, 'listening');
  const address = server.address();
  server.close();
  await once(server, 'close');
  return typeof address === 'object' && address !== null ? address.port : port;
}

/** Below the ports that systems give to outgoing connections (Linux: from 32768), any of which may take one at any moment. */
const FREE_PORTS = { from: 20_000, to: 32_000 };
const PORT_TRIES = 100;

/** A TCP port of `host` that nothing listens on now. Another program may take it before you do, so be ready to ask again. */
export async function freePort(host = '127.0.0.1'): Promise<number> {
  for (let tried = 1; ; tried += 1) {
    try {
      return await listenOnce(randomInt(FREE_PORTS.from, FREE_PORTS.to), host);
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'EADDRINUSE' || tried === PORT_TRIES) throw error;
    }
  }
}

/** Throws InvalidInput `port_unavailable`, naming the port and the setting that changes it, when `port` cannot be bound. */
export async function requireFreePort(port: number, host: string, service: string, setting: string): Promise<void> {
  try {
    await listenOnce(port, host);
  } catch (error) {
    const inUse = (error as NodeJS.ErrnoException).code === 'EADDRINUSE';
    const why = inUse ? 'is in use by another program' : `cannot be used (${(error as Error).message})`;
    throw new InvalidInput(
      'port_unavailable',
      `Port ${port}, wanted for ${service}, ${why}. Free it or change ${setting}.`,
      {
        cause: error,
        context: { port },
      },
    );
  }
}

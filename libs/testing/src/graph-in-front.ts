import { once } from 'node:events';
import { createServer, request as httpRequest, type IncomingMessage, type ServerResponse } from 'node:http';
import { type AddressInfo } from 'node:net';

/** Something between the product and Meta that lets a test look at each Graph call, hold it up, or refuse it. */
export interface GraphInFront {
  readonly url: string;
  /**
   * Called before a call is handed on, with its method and path as `POST /v26.0/1/subscriptions` and its body. A number that
   * it gives is the code of Graph's error that the caller gets instead.
   */
  onCall: (call: string, body: string) => number | undefined | Promise<number | undefined>;
  close(): Promise<void>;
}

/** Starts it in front of a sandbox. It hands everything on until a test says otherwise. */
export async function startGraphInFront(sandboxUrl: string): Promise<GraphInFront> {
  const server = createServer((incoming, outgoing) => {
    handOn(incoming, outgoing).catch(() => outgoing.destroy());
  });
  const handOn = async (incoming: IncomingMessage, outgoing: ServerResponse): Promise<void> => {
    const chunks: Buffer[] = [];
    for await (const chunk of incoming) chunks.push(chunk as Buffer);
    const body = Buffer.concat(chunks);
    const { method = 'GET', url = '', headers } = incoming;
    const code = await inFront.onCall(`${method} ${url.replace(/\?.*$/s, '')}`, body.toString());
    if (code !== undefined) {
      outgoing.writeHead(400, { 'content-type': 'application/json' });
      outgoing.end(JSON.stringify({ error: { message: 'Refused', type: 'OAuthException', code } }));
      return;
    }
    const onward = httpRequest(`${sandboxUrl}${url}`, { method, headers }, (answer) => {
      outgoing.writeHead(answer.statusCode ?? 502, answer.headers);
      answer.pipe(outgoing);
    });
    onward.on('error', () => outgoing.destroy());
    onward.end(body);
  };
  server.listen(0, '127.0.0.1');
  await once(server, 'listening');
  const inFront: GraphInFront = {
    url: `http://127.0.0.1:${String((server.address() as AddressInfo).port)}`,
    onCall: () => undefined,
    close: async () => {
      server.closeAllConnections();
      server.close();
      await once(server, 'close');
    },
  };
  return inFront;
}

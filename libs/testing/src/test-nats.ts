import { startEmbeddedNats } from '@answerline/embedded-services';
import { tempDir } from './temp-dir.ts';

/** A nats-server with JetStream for one spec file. */
export interface TestNats {
  readonly url: string;
  readonly token: string;
  /** Of the server that runs now; it changes with a restart. */
  readonly pid: number;
  stop(): Promise<void>;
  /** Starts it again with the same port, token and data, also after it was killed. */
  restart(): Promise<void>;
}

/** Starts a nats-server of its own in a temporary folder, about 50 ms. */
export async function startTestNats(): Promise<TestNats> {
  const program = process.env.TEST_NATS_SERVER;
  const dataDir = await tempDir();
  let server = await startEmbeddedNats({ dataDir, program });
  const { url, token } = server;
  return {
    url,
    token,
    get pid() {
      return server.pid;
    },
    stop: () => server.stop(),
    restart: async () => {
      await server.stop();
      server = await startEmbeddedNats({ dataDir, program, token, port: Number(new URL(url).port) });
    },
  };
}

import { type StartingProcess } from '@answerline/lifecycle';
import { type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { closeOperatorConnections } from '@answerline/outbound-http';
import { Database } from '@answerline/persistence';
import { GraphClient, GraphManagement } from '@answerline/whatsapp';

/** Connects to Postgres; readiness asks it, and it is closed when the process stops. */
export async function connectDatabase(
  starting: StartingProcess,
  options: { readonly name: string; readonly url: string; readonly poolSize: number },
): Promise<Database> {
  const { name, url, poolSize } = options;
  const database = await Database.connect({ url, poolSize, applicationName: `answerline-${name}` });
  starting.onStop('database', () => database.close());
  starting.health.add('database', () => database.isUp());
  return database;
}

/** Connects to NATS and makes its streams fit; readiness asks it, and it is closed when the process stops. */
export async function connectMessageBus(
  starting: StartingProcess,
  options: {
    readonly name: string;
    readonly url: string;
    readonly token?: string;
    readonly profile: 'standalone' | 'production';
    readonly logger: Logger;
  },
): Promise<MessageBus> {
  const bus = await MessageBus.connect({ ...options, name: `answerline-${options.name}` });
  starting.onStop('messaging', () => bus.close());
  await bus.reconcile();
  starting.health.add('nats', async () => bus.problem() === null);
  return bus;
}

/** The client of the Graph API; its connections are closed when the process stops. */
export function graphClient(
  starting: StartingProcess,
  options: { readonly baseUrl: string; readonly version: string },
): GraphClient {
  starting.onStop('graph connections', () => closeOperatorConnections());
  return new GraphClient(options);
}

/** The client of the Graph API's management side; its connections are closed when the process stops. */
export function graphManagement(
  starting: StartingProcess,
  options: { readonly baseUrl: string; readonly version: string },
): GraphManagement {
  starting.onStop('graph management connections', () => closeOperatorConnections());
  return new GraphManagement(options);
}

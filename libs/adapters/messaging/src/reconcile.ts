import {
  AckPolicy,
  DeliverPolicy,
  DiscardPolicy,
  JetStreamApiCodes,
  JetStreamApiError,
  RetentionPolicy,
  StorageType,
  StoreCompression,
  type JetStreamManager,
  type StreamInfo,
} from '@nats-io/jetstream';
import { nanos } from '@nats-io/transport-node';
import { type ConsumerDefinition, type MessagingTopology, type StreamDefinition } from '@answerline/contracts';
import { InvalidInput } from '@answerline/errors';
import { fromNatsError } from './nats-errors.ts';

/** What {@link reconcileTopology} did, as `STREAM` and `STREAM/consumer`. Both empty: the server already fitted. */
export interface ReconcileResult {
  readonly created: readonly string[];
  readonly updated: readonly string[];
}

/**
 * Makes streams and consumers look like `topology`: reads first and writes only what differs, so that any number of
 * processes may do it at once. Nothing is deleted or purged, and a limit that would make the server forget stored
 * messages is refused.
 *
 * @throws InvalidInput `nats_stream_would_lose_messages`, `nats_subjects_overlap`, `nats_change_refused` (a setting that
 *   NATS cannot change on a stream or consumer that exists, or a replica count that the cluster cannot give)
 * @throws Transient when the server is away, not ready or out of storage
 */
export async function reconcileTopology(
  manager: JetStreamManager,
  topology: MessagingTopology,
  options: { readonly replicas: number; readonly now: () => number },
): Promise<ReconcileResult> {
  const created: string[] = [];
  const updated: string[] = [];
  const note = (what: 'created' | 'updated' | 'same', name: string) => {
    if (what === 'created') created.push(name);
    if (what === 'updated') updated.push(name);
  };

  for (const stream of topology.streams) {
    note(await refusalNamed(stream.name, () => reconcileStream(manager, stream, options)), stream.name);
  }
  for (const consumer of topology.consumers) {
    const name = `${consumer.stream}/${consumer.name}`;
    note(await refusalNamed(name, () => reconcileConsumer(manager, consumer)), name);
  }
  return { created, updated };
}

async function reconcileStream(
  manager: JetStreamManager,
  definition: StreamDefinition,
  options: { readonly replicas: number; readonly now: () => number },
) {
  const wanted = streamConfig(definition, options.replicas);
  const info = await orMissing(JetStreamApiCodes.StreamNotFound, manager.streams.info(definition.name));
  if (info === undefined) {
    await manager.streams.add(wanted);
    return 'created';
  }
  const changes = differences(wanted, info.config);
  if (Object.keys(changes).length === 0) return 'same';
  refuseLoss(definition, info, options.now());
  await manager.streams.update(definition.name, changes);
  return 'updated';
}

async function reconcileConsumer(manager: JetStreamManager, definition: ConsumerDefinition) {
  const wanted = consumerConfig(definition);
  const info = await orMissing(
    JetStreamApiCodes.ConsumerNotFound,
    manager.consumers.info(definition.stream, definition.name),
  );
  if (info === undefined) {
    await manager.consumers.add(definition.stream, wanted);
    return 'created';
  }
  const changes = differences(wanted, info.config);
  if (Object.keys(changes).length === 0) return 'same';
  await manager.consumers.update(definition.stream, definition.name, changes);
  return 'updated';
}

function streamConfig(definition: StreamDefinition, replicas: number) {
  return {
    name: definition.name,
    description: definition.description,
    subjects: [...definition.subjects],
    retention: RetentionPolicy.Limits,
    storage: StorageType.File,
    compression: StoreCompression.S2,
    discard: definition.discard === 'new' ? DiscardPolicy.New : DiscardPolicy.Old,
    max_age: nanos(definition.maxAgeMs),
    max_bytes: definition.maxBytes,
    max_msg_size: definition.maxMessageBytes,
    duplicate_window: nanos(definition.duplicateWindowMs),
    allow_direct: definition.allowDirect,
    num_replicas: replicas,
  };
}

function consumerConfig(definition: ConsumerDefinition) {
  return {
    durable_name: definition.name,
    description: definition.description,
    filter_subject: definition.filterSubject,
    ack_policy: AckPolicy.Explicit,
    deliver_policy: DeliverPolicy.All,
    ack_wait: nanos(definition.ackWaitMs),
    max_deliver: definition.maxDeliver,
    max_ack_pending: definition.maxAckPending,
  };
}

/** The wanted settings that the server has otherwise. What we do not set is the server's business. */
function differences<T extends object>(wanted: T, actual: object): Partial<T> {
  const have = new Map(Object.entries(actual));
  const entries = Object.entries(wanted).filter(
    ([setting, value]) => JSON.stringify(value) !== JSON.stringify(have.get(setting)),
  );
  return Object.fromEntries(entries) as Partial<T>;
}

function refuseLoss(definition: StreamDefinition, { config, state }: StreamInfo, now: number): void {
  if (state.messages === 0) return;
  const lowersAge = nanos(definition.maxAgeMs) < config.max_age || config.max_age === 0;
  const oldestAgeMs = now - Date.parse(state.first_ts);
  const forgetsByAge = lowersAge && oldestAgeMs > definition.maxAgeMs;
  const forgetsBySize = state.bytes > definition.maxBytes;
  if (!forgetsByAge && !forgetsBySize) return;
  throw new InvalidInput(
    'nats_stream_would_lose_messages',
    `The new limits of the stream ${definition.name} would remove messages that are stored. ` +
      'Wait until they are gone, or change the stream by hand.',
    { context: { stream: definition.name, storedBytes: state.bytes, maxBytes: definition.maxBytes } },
  );
}

async function orMissing<T>(missing: number, answer: Promise<T>): Promise<T | undefined> {
  try {
    return await answer;
  } catch (error) {
    if (error instanceof JetStreamApiError && error.code === missing) return undefined;
    throw error;
  }
}

/** Says which stream or consumer the server refused, and why. JetStream's descriptions name settings, never content. */
async function refusalNamed<T>(name: string, reconcile: () => Promise<T>): Promise<T> {
  try {
    return await reconcile();
  } catch (error) {
    const known = fromNatsError(error);
    if (!(error instanceof JetStreamApiError) || known.code !== 'nats_error') throw known;
    throw new InvalidInput('nats_change_refused', `NATS refused the settings of ${name}: ${error.message}`, {
      cause: error,
      context: { name, natsErrorCode: error.code },
    });
  }
}

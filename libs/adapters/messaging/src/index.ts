export {
  MessageBus,
  type MessageBusOptions,
  type PublishResult,
  type RunningConsumer,
  type StoredMessage,
} from './message-bus.ts';
export { type ConsumerOptions } from './consumer-runner.ts';
export { type StoredDeadLetter } from './dead-letters.ts';
export { type Delivery } from './delivery.ts';
export { type ReconcileResult } from './reconcile.ts';
export { Discard, SnoozeFor } from './signals.ts';

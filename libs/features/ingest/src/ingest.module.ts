import { Module } from '@nestjs/common';
import { IngestWorker } from './ingest.worker.ts';

/** Raw webhooks become messages, once each. Needs Database, MessageBus, SecretBox and LOGGER from the app. */
@Module({ providers: [IngestWorker] })
export class IngestModule {}

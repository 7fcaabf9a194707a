import { Module } from '@nestjs/common';
import { NotifierWorker } from './notifier.worker.ts';

/** Replies, ticks and events go out. Needs Database, MessageBus, GraphClient, SecretBox and LOGGER from the app. */
@Module({ providers: [NotifierWorker] })
export class NotifierModule {}

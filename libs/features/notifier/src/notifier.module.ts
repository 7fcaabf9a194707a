import { type DynamicModule, Module } from '@nestjs/common';
import { NOTIFIER_OPTIONS, type NotifierOptions } from './notifier-options.ts';
import { NotifierWorker } from './notifier.worker.ts';

/**
 * Replies, ticks, mails and events go out. Needs Database, MessageBus, GraphClient, SecretBox, Mailer and LOGGER from the app.
 */
@Module({ providers: [NotifierWorker] })
export class NotifierModule {
  static forRoot(options: NotifierOptions): DynamicModule {
    return { module: NotifierModule, providers: [{ provide: NOTIFIER_OPTIONS, useValue: options }] };
  }
}

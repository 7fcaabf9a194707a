import { Module, type DynamicModule, type OnApplicationShutdown } from '@nestjs/common';
import { KnowledgeIndex } from './knowledge-index.ts';
import { LanceKnowledgeIndex, type LanceOptions } from './lance-knowledge-index.ts';

/** Provides {@link KnowledgeIndex}, and closes it when the application has stopped. */
@Module({})
export class KnowledgeIndexModule implements OnApplicationShutdown {
  constructor(private readonly index: KnowledgeIndex) {}

  /** `folder`: where the index lives, made if missing. Start fails as `LanceKnowledgeIndex.open` says. */
  static forRoot(options: LanceOptions): DynamicModule {
    return {
      module: KnowledgeIndexModule,
      providers: [{ provide: KnowledgeIndex, useFactory: () => LanceKnowledgeIndex.open(options) }],
      exports: [KnowledgeIndex],
    };
  }

  async onApplicationShutdown(): Promise<void> {
    await this.index.close();
  }
}

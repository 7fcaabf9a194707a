import { GatewayModule } from '@answerline/feature-gateway';
import { KnowledgeIndex } from '@answerline/knowledge-index';
import { HealthRegistry } from '@answerline/lifecycle';
import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { type DynamicModule, Module } from '@nestjs/common';
import { type GatewayConfig } from './app.config.ts';

/** What was connected before Nest starts, and is closed after it has stopped. */
export interface GatewayParts {
  readonly database: Database;
  readonly bus: MessageBus;
  readonly index: KnowledgeIndex;
  readonly health: HealthRegistry;
  readonly logger: Logger;
}

@Module({})
export class GatewayAppModule {
  static forRoot(config: GatewayConfig, { database, bus, index, health, logger }: GatewayParts): DynamicModule {
    const providers = [
      { provide: Database, useValue: database },
      { provide: MessageBus, useValue: bus },
      { provide: KnowledgeIndex, useValue: index },
      { provide: HealthRegistry, useValue: health },
      { provide: LOGGER, useValue: logger },
      { provide: SecretBox, useValue: new SecretBox(config.ENCRYPTION_KEYS.reveal()) },
    ];
    return {
      module: GatewayAppModule,
      global: true,
      imports: [
        GatewayModule.forRoot({
          publicUrl: config.PUBLIC_URL ?? `http://localhost:${config.PORT}`,
          operatorKey: config.OPERATOR_KEY,
          defaultPlan: config.DEFAULT_PLAN,
          upgradeUrl: config.UPGRADE_URL,
          requireAppSecret: config.REQUIRE_APP_SECRET,
        }),
      ],
      providers,
      exports: providers.map(({ provide }) => provide),
    };
  }
}

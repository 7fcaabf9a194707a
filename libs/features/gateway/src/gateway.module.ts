import { LOGGER, type Logger } from '@answerline/logging';
import { MessageBus } from '@answerline/messaging';
import { Database } from '@answerline/persistence';
import { SecretBox } from '@answerline/secrets';
import { GraphManagement } from '@answerline/whatsapp';
import { type DynamicModule, Module } from '@nestjs/common';
import { APP_FILTER, APP_GUARD, APP_PIPE } from '@nestjs/core';
import { AnswerAsHuman } from './answer-as-human/answer-as-human.ts';
import { AnswerAsHumanController } from './answer-as-human/answer-as-human.controller.ts';
import { AskController } from './ask-question/ask.controller.ts';
import { ChannelHealthController } from './check-health/channel-health.controller.ts';
import { ChannelHealthWorker } from './check-health/channel-health.worker.ts';
import { CheckHealth } from './check-health/check-health.ts';
import { ChangePlan } from './change-plan/change-plan.ts';
import { PlanController } from './change-plan/plan.controller.ts';
import { ChannelsController } from './connect-whatsapp/channels.controller.ts';
import { ConnectWhatsApp } from './connect-whatsapp/connect-whatsapp.ts';
import { ReadChannels } from './connect-whatsapp/read-channels.ts';
import { CreateWorkspace } from './create-workspace/create-workspace.ts';
import { WorkspacesController } from './create-workspace/workspaces.controller.ts';
import { ContactsController } from './delete-contact/contacts.controller.ts';
import { DeleteContact } from './delete-contact/delete-contact.ts';
import { ReadContacts } from './delete-contact/read-contacts.ts';
import { DisconnectWhatsAppController } from './disconnect-whatsapp/disconnect-whatsapp.controller.ts';
import { DisconnectWhatsApp } from './disconnect-whatsapp/disconnect-whatsapp.ts';
import { GATEWAY_OPTIONS, type GatewayOptions } from './gateway-options.ts';
import { ChatbotsController } from './manage-chatbots/chatbots.controller.ts';
import { UpdateChatbot } from './manage-chatbots/update-chatbot.ts';
import { ManageSources } from './manage-sources/manage-sources.ts';
import { SourcesController } from './manage-sources/sources.controller.ts';
import { ApiKeys } from './management-api/api-keys.ts';
import { AuthenticateGuard } from './management-api/authenticate.guard.ts';
import { ProblemFilter } from './management-api/problem.filter.ts';
import { RequestSchemaPipe } from './management-api/request-schema.pipe.ts';
import { ConversationsController } from './read-conversations/conversations.controller.ts';
import { ReadConversations } from './read-conversations/read-conversations.ts';
import { ReadReceipts } from './read-receipts/read-receipts.ts';
import { ReceiptsController } from './read-receipts/receipts.controller.ts';
import { ReplayDelivery } from './read-webhook-log/replay-delivery.ts';
import { ReadUsage } from './read-usage/read-usage.ts';
import { UsageController } from './read-usage/usage.controller.ts';
import { WebhookLogController } from './read-webhook-log/webhook-log.controller.ts';
import { DeliveryBook } from './receive-webhook/delivery-book.ts';
import { WebhookKeys } from './receive-webhook/webhook-keys.ts';
import { WebhookWorker } from './receive-webhook/webhook.worker.ts';
import { SearchController } from './search-knowledge/search.controller.ts';

/**
 * Meta's webhook and the management API. Needs Database, MessageBus, SecretBox, RagClient, HealthRegistry and LOGGER from
 * the app, `createGatewayAdapter()` under it, and `openGatewayDoors(app)` before it listens.
 */
@Module({})
export class GatewayModule {
  static forRoot(options: GatewayOptions): DynamicModule {
    return {
      module: GatewayModule,
      controllers: [
        WorkspacesController,
        ChatbotsController,
        SourcesController,
        SearchController,
        AskController,
        ChannelsController,
        ChannelHealthController,
        DisconnectWhatsAppController,
        ContactsController,
        ConversationsController,
        AnswerAsHumanController,
        ReceiptsController,
        UsageController,
        PlanController,
        WebhookLogController,
      ],
      providers: [
        { provide: GATEWAY_OPTIONS, useValue: options },
        { provide: APP_FILTER, useClass: ProblemFilter },
        { provide: APP_GUARD, useClass: AuthenticateGuard },
        { provide: APP_PIPE, useClass: RequestSchemaPipe },
        { provide: ApiKeys, useFactory: (database: Database) => new ApiKeys(database), inject: [Database] },
        {
          provide: WebhookKeys,
          useFactory: (database: Database, secretBox: SecretBox) => new WebhookKeys(database, secretBox),
          inject: [Database, SecretBox],
        },
        {
          provide: DeliveryBook,
          useFactory: (database: Database, logger: Logger) => new DeliveryBook(database, logger),
          inject: [Database, LOGGER],
        },
        WebhookWorker,
        {
          provide: CheckHealth,
          useFactory: (database: Database, bus: MessageBus, secretBox: SecretBox, graph: GraphManagement) =>
            new CheckHealth(database, bus, secretBox, graph, options),
          inject: [Database, MessageBus, SecretBox, GraphManagement],
        },
        ChannelHealthWorker,
        ReplayDelivery,
        CreateWorkspace,
        UpdateChatbot,
        AnswerAsHuman,
        ManageSources,
        ConnectWhatsApp,
        DisconnectWhatsApp,
        DeleteContact,
        ReadContacts,
        ReadChannels,
        ReadConversations,
        ReadReceipts,
        ReadUsage,
        ChangePlan,
      ],
    };
  }
}

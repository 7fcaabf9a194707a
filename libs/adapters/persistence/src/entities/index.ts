import { ApiKey } from './api-key.entity.ts';
import { Channel } from './channel.entity.ts';
import { Chatbot } from './chatbot.entity.ts';
import { Source } from './source.entity.ts';
import { WebhookKey } from './webhook-key.entity.ts';
import { Workspace } from './workspace.entity.ts';

/** Rows that TypeORM reads and writes. The tables of the hot path have none: their SQL stands beside its use case. */
export const entities = [ApiKey, Channel, Chatbot, Source, WebhookKey, Workspace];

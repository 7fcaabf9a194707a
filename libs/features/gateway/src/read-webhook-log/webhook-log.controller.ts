import { pageOf, replayedDeliverySchema, webhookLogEntrySchema } from '@answerline/contracts';
import { Database } from '@answerline/persistence';
import { Controller, Get, Param, Post, Query } from '@nestjs/common';
import { ApiTags } from '@nestjs/swagger';
import * as z from 'zod';
import { idPageQuerySchema, pageFrom } from '../management-api/pages.ts';
import { Answers, idSchema, WorkspaceId } from '../management-api/route.ts';
import { ReplayDelivery } from './replay-delivery.ts';

const webhookLogQuerySchema = idPageQuerySchema.extend({
  sha256: z
    .string()
    .regex(/^[0-9a-f]{64}$/, '64 hex digits, lower case.')
    .optional()
    .describe('Only the deliveries of this very body'),
});
const webhookLogPageSchema = pageOf(webhookLogEntrySchema);

interface LogRow {
  id: string;
  webhook_key_id: string;
  verdict: string;
  body_sha256: string | null;
  found: number;
  stored: number;
  repeated: number;
  count: number;
  replays: number;
  received_at: Date;
}

@ApiTags('Webhook log')
@Controller('api/v1/webhook-log')
export class WebhookLogController {
  readonly #database: Database;
  readonly #replay: ReplayDelivery;

  constructor(database: Database, replay: ReplayDelivery) {
    this.#database = database;
    this.#replay = replay;
  }

  @Get()
  @Answers('What became of the deliveries from Meta, newest first', 200, webhookLogPageSchema)
  async list(
    @WorkspaceId() workspaceId: string,
    @Query({ schema: webhookLogQuerySchema }) { limit, cursor, sha256 }: z.infer<typeof webhookLogQuerySchema>,
  ): Promise<z.infer<typeof webhookLogPageSchema>> {
    const rows = await this.#database.query<LogRow>(
      `SELECT id, webhook_key_id, verdict, body_sha256, found, stored, repeated, count, replays, received_at FROM webhook_log
       WHERE workspace_id = $1 AND ($2::uuid IS NULL OR id < $2::uuid) AND ($3::text IS NULL OR body_sha256 = $3::text)
       ORDER BY id DESC LIMIT $4`,
      [workspaceId, cursor ?? null, sha256 ?? null, limit + 1],
    );
    const page = pageFrom(rows, limit, ({ id }) => id);
    return { ...page, items: page.items.map(toEntry) };
  }

  @Post(':id/replay')
  @Answers(
    'Give a stored delivery to ingest once more; what is stored already is stored once',
    202,
    replayedDeliverySchema,
  )
  replay(
    @WorkspaceId() workspaceId: string,
    @Param('id', { schema: idSchema }) id: string,
  ): Promise<z.infer<typeof replayedDeliverySchema>> {
    return this.#replay.execute(workspaceId, id);
  }
}

function toEntry(row: LogRow): z.infer<typeof webhookLogEntrySchema> {
  return {
    id: row.id,
    webhookKeyId: row.webhook_key_id,
    verdict: row.verdict,
    bodySha256: row.body_sha256,
    found: row.found,
    stored: row.stored,
    repeated: row.repeated,
    count: row.count,
    replays: row.replays,
    receivedAt: row.received_at.toISOString(),
  };
}

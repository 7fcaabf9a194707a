import { type DeepPartial, type EntityManager, type EntityTarget, type FindOptionsWhere, LessThan } from 'typeorm';
import { type QueryDeepPartialEntity } from 'typeorm/query-builder/QueryPartialEntity.js';
import { newId } from './ids.ts';
import { Channel } from './entities/channel.entity.ts';
import { Chatbot } from './entities/chatbot.entity.ts';
import { Source } from './entities/source.entity.ts';
import { WebhookKey } from './entities/webhook-key.entity.ts';

/** Rows of a workspace have both columns. */
interface TenantRow {
  id: string;
  workspaceId: string;
}

/** One page, newest first. `nextCursor` is the id to continue below, or null on the last page. */
export interface Page<Row> {
  readonly items: Row[];
  readonly nextCursor: string | null;
}

/**
 * The rows of one table that belong to one workspace. Ids of other workspaces do not exist here: they read as null and
 * change nothing.
 */
export class WorkspaceRows<Row extends TenantRow> {
  readonly #manager: EntityManager;
  readonly #entity: EntityTarget<Row>;
  readonly #workspaceId: string;

  constructor(manager: EntityManager, entity: EntityTarget<Row>, workspaceId: string) {
    this.#manager = manager;
    this.#entity = entity;
    this.#workspaceId = workspaceId;
  }

  /** The first row that fits, or null. */
  async find(where: FindOptionsWhere<Row>): Promise<Row | null> {
    return this.#manager.findOneBy(this.#entity, this.#own(where));
  }

  /** Newest first: ids are UUIDv7, so their order is the order of creation. */
  async page(
    where: FindOptionsWhere<Row>,
    { limit, cursor }: { limit: number; cursor?: string | undefined },
  ): Promise<Page<Row>> {
    const below = cursor === undefined ? {} : { id: LessThan(cursor) };
    const items = await this.#manager.find(this.#entity, {
      where: this.#own({ ...where, ...below }),
      order: { id: 'DESC' } as never,
      take: limit + 1,
    });
    const hasMore = items.length > limit;
    if (hasMore) items.pop();
    return { items, nextCursor: hasMore ? (items.at(-1)?.id ?? null) : null };
  }

  /** Stores a new row and returns it as stored, defaults filled in. */
  async insert(values: DeepPartial<Omit<Row, 'workspaceId'>>): Promise<Row> {
    const row = { id: newId(), ...values, workspaceId: this.#workspaceId } as unknown as Row;
    await this.#manager.insert(this.#entity, row as QueryDeepPartialEntity<Row>);
    return this.#manager.findOneByOrFail(this.#entity, this.#own({ id: row.id } as FindOptionsWhere<Row>));
  }

  /** Changes the row, which stays in its workspace, and returns it, or null when this workspace has no such row. */
  async update(id: string, values: QueryDeepPartialEntity<Row>): Promise<Row | null> {
    const where = this.#own({ id } as FindOptionsWhere<Row>);
    await this.#manager.update(this.#entity, where, { ...values, workspaceId: this.#workspaceId });
    return this.#manager.findOneBy(this.#entity, where);
  }

  /** Whether there was such a row. */
  async delete(id: string): Promise<boolean> {
    const result = await this.#manager.delete(this.#entity, this.#own({ id } as FindOptionsWhere<Row>));
    return (result.affected ?? 0) > 0;
  }

  #own(where: FindOptionsWhere<Row>): FindOptionsWhere<Row> {
    return { ...where, workspaceId: this.#workspaceId };
  }
}

/** Everything of one workspace that is read and written through TypeORM. */
export class WorkspaceData {
  readonly chatbots: WorkspaceRows<Chatbot>;
  readonly channels: WorkspaceRows<Channel>;
  readonly webhookKeys: WorkspaceRows<WebhookKey>;
  readonly sources: WorkspaceRows<Source>;

  constructor(manager: EntityManager, workspaceId: string) {
    this.chatbots = new WorkspaceRows(manager, Chatbot, workspaceId);
    this.channels = new WorkspaceRows(manager, Channel, workspaceId);
    this.webhookKeys = new WorkspaceRows(manager, WebhookKey, workspaceId);
    this.sources = new WorkspaceRows(manager, Source, workspaceId);
  }
}

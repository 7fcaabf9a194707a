import { Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import { Chatbot } from './chatbot.entity.ts';
import { type SourceState, type SourceType } from '@answerline/contracts';

/** One piece of a chatbot's knowledge, as its owner gave it. */
@Entity('sources')
@Unique('sources_workspace_uq', ['workspaceId', 'id'])
@Index('sources_due_idx', ['dueAt'], { where: 'due_at IS NOT NULL' })
@Index('sources_chatbot_idx', ['workspaceId', 'chatbotId', 'id'])
@ForeignKey(() => Chatbot, ['workspaceId', 'chatbotId'], ['workspaceId', 'id'], {
  name: 'sources_chatbot_fk',
  onDelete: 'CASCADE',
})
export class Source {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'sources_pk' })
  id!: string;

  @Column({ name: 'workspace_id', type: 'uuid' })
  workspaceId!: string;

  @Column({ name: 'chatbot_id', type: 'uuid' })
  chatbotId!: string;

  @Column({ type: 'text' })
  type!: SourceType;

  @Column({ type: 'text' })
  title!: string;

  @Column({ type: 'text' })
  content!: string;

  @Column({ type: 'text', nullable: true })
  url!: string | null;

  @Column({ type: 'text', default: 'pending' })
  state!: SourceState;

  @Column({ name: 'error_code', type: 'text', nullable: true })
  errorCode!: string | null;

  @Column({ name: 'passage_count', type: 'integer', default: 0 })
  passageCount!: number;

  @Column({ type: 'integer', default: 0 })
  fence!: number;

  @Column({ name: 'lease_until', type: 'timestamptz', nullable: true })
  leaseUntil!: Date | null;

  @Column({ type: 'integer', default: 0 })
  tries!: number;

  @Column({ name: 'due_at', type: 'timestamptz', nullable: true })
  dueAt!: Date | null;

  @Column({ name: 'updated_at', type: 'timestamptz', default: () => 'now()' })
  updatedAt!: Date;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

import { type BusinessHours } from '@answerline/contracts';
import { Column, Entity, ForeignKey, PrimaryColumn, Unique } from 'typeorm';
import { Workspace } from './workspace.entity.ts';

/** Instructions, language and knowledge base of one assistant. */
@Entity('chatbots')
@Unique('chatbots_workspace_uq', ['workspaceId', 'id'])
@ForeignKey(() => Workspace, ['workspaceId'], ['id'], { name: 'chatbots_workspace_fk' })
export class Chatbot {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'chatbots_pk' })
  id!: string;

  @Column({ name: 'workspace_id', type: 'uuid' })
  workspaceId!: string;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'text', default: '' })
  instructions!: string;

  /** BCP 47 primary language, used when the contact's own is not known. */
  @Column({ type: 'text', default: 'en' })
  language!: string;

  @Column({ name: 'ai_enabled', type: 'boolean', default: true })
  aiEnabled!: boolean;

  /** How long nothing new must come before a turn is answered. */
  @Column({ name: 'quiet_ms', type: 'integer', default: 1500 })
  quietMs!: number;

  /** A turn is answered this long after its first message at the latest. */
  @Column({ name: 'quiet_max_ms', type: 'integer', default: 6000 })
  quietMaxMs!: number;

  @Column({ name: 'show_sources', type: 'boolean', default: false })
  showSources!: boolean;

  /** Overrides of the text catalogue: language → kind → text. */
  @Column({ type: 'jsonb', default: {} })
  texts!: Record<string, Record<string, string>>;

  /** Null: the catalogue's. */
  @Column({ name: 'handoff_phrases', type: 'text', array: true, nullable: true })
  handoffPhrases!: string[] | null;

  /** The model may hand over to a human by its own judgement. */
  @Column({ name: 'handoff_by_model', type: 'boolean', default: false })
  handoffByModel!: boolean;

  /** When humans are there; null: nothing is said about it. */
  @Column({ name: 'business_hours', type: 'jsonb', nullable: true })
  businessHours!: BusinessHours | null;

  /** Messages after which the AI is silent; null: the usual ones. */
  @Column({ name: 'stop_words', type: 'text', array: true, nullable: true })
  stopWords!: string[] | null;

  /** Messages after which it is not any more; null: the usual ones. */
  @Column({ name: 'start_words', type: 'text', array: true, nullable: true })
  startWords!: string[] | null;

  @Column({ name: 'notify_emails', type: 'text', array: true, default: [] })
  notifyEmails!: string[];

  @Column({ name: 'public_contact', type: 'text', nullable: true })
  publicContact!: string | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

import { Column, Entity, ForeignKey, PrimaryColumn, Unique } from 'typeorm';
import { Workspace } from './workspace.entity.ts';

/** Where one Meta app delivers: it has a single callback, so the key belongs to (workspace, App ID). */
@Entity('webhook_keys')
@Unique('webhook_keys_workspace_uq', ['workspaceId', 'id'])
@Unique('webhook_keys_app_uq', ['workspaceId', 'appId'])
@Unique('webhook_keys_key_hash_uq', ['keyHash'])
@ForeignKey(() => Workspace, ['workspaceId'], ['id'], { name: 'webhook_keys_workspace_fk' })
export class WebhookKey {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'webhook_keys_pk' })
  id!: string;

  @Column({ name: 'workspace_id', type: 'uuid' })
  workspaceId!: string;

  @Column({ name: 'app_id', type: 'text' })
  appId!: string;

  /** SHA-256 of the key in the callback path. */
  @Column({ name: 'key_hash', type: 'bytea' })
  keyHash!: Buffer;

  @Column({ name: 'key_ciphertext', type: 'text' })
  keyCiphertext!: string;

  @Column({ name: 'verify_token_ciphertext', type: 'text' })
  verifyTokenCiphertext!: string;

  /** Null: the deliveries of this app cannot be verified. */
  @Column({ name: 'app_secret_ciphertext', type: 'text', nullable: true })
  appSecretCiphertext!: string | null;

  @Column({ name: 'last_accepted_at', type: 'timestamptz', nullable: true })
  lastAcceptedAt!: Date | null;

  @Column({ name: 'last_refused_at', type: 'timestamptz', nullable: true })
  lastRefusedAt!: Date | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

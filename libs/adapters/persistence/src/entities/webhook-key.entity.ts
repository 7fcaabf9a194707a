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

  /** Null: its last channel was disconnected, so that nothing of it is a secret of a connection any more. */
  @Column({ name: 'verify_token_ciphertext', type: 'text', nullable: true })
  verifyTokenCiphertext!: string | null;

  /** Null: the deliveries of this app cannot be verified. */
  @Column({ name: 'app_secret_ciphertext', type: 'text', nullable: true })
  appSecretCiphertext!: string | null;

  /** When the callback answered Meta's verification GET. */
  @Column({ name: 'verified_at', type: 'timestamptz', nullable: true })
  verifiedAt!: Date | null;

  /** The last delivery whose signature was checked and right, our own tests left out. */
  @Column({ name: 'last_signed_at', type: 'timestamptz', nullable: true })
  lastSignedAt!: Date | null;

  @Column({ name: 'last_accepted_at', type: 'timestamptz', nullable: true })
  lastAcceptedAt!: Date | null;

  @Column({ name: 'last_refused_at', type: 'timestamptz', nullable: true })
  lastRefusedAt!: Date | null;

  /** Until the first number is connected with it: it answers Meta's verification and takes no deliveries. */
  @Column({ name: 'is_draft', type: 'boolean', default: false })
  isDraft!: boolean;

  /** While somebody connects a number with it; one at a time. */
  @Column({ name: 'connecting_until', type: 'timestamptz', nullable: true })
  connectingUntil!: Date | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

import { Column, Entity, ForeignKey, PrimaryColumn, Unique } from 'typeorm';
import { Workspace } from './workspace.entity.ts';

/** A key of the management API. */
@Entity('api_keys')
@Unique('api_keys_key_hash_uq', ['keyHash'])
@ForeignKey(() => Workspace, ['workspaceId'], ['id'], { name: 'api_keys_workspace_fk' })
export class ApiKey {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'api_keys_pk' })
  id!: string;

  @Column({ name: 'workspace_id', type: 'uuid' })
  workspaceId!: string;

  @Column({ type: 'text' })
  name!: string;

  /** The first characters of the key, to tell keys apart in a list. */
  @Column({ type: 'text' })
  prefix!: string;

  /** SHA-256 of the key; the key itself is shown once and not kept. */
  @Column({ name: 'key_hash', type: 'bytea' })
  keyHash!: Buffer;

  @Column({ type: 'text', array: true })
  scopes!: string[];

  @Column({ name: 'expires_at', type: 'timestamptz', nullable: true })
  expiresAt!: Date | null;

  @Column({ name: 'revoked_at', type: 'timestamptz', nullable: true })
  revokedAt!: Date | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

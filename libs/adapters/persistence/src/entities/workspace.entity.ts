import { Column, Entity, PrimaryColumn } from 'typeorm';

/** A tenant: a plan, a quota, and everything below it. */
@Entity('workspaces')
export class Workspace {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'workspaces_pk' })
  id!: string;

  @Column({ type: 'text' })
  name!: string;

  @Column({ type: 'text' })
  plan!: string;

  /** IANA name; months of usage begin and end in it. */
  @Column({ name: 'time_zone', type: 'text', default: 'UTC' })
  timeZone!: string;

  /** Who is told by mail what nobody named for a chatbot is told. */
  @Column({ name: 'owner_email', type: 'text', nullable: true })
  ownerEmail!: string | null;

  @Column({ name: 'suspended_at', type: 'timestamptz', nullable: true })
  suspendedAt!: Date | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

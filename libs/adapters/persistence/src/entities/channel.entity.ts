import { Column, Entity, ForeignKey, PrimaryColumn, Unique } from 'typeorm';
import { Chatbot } from './chatbot.entity.ts';
import { WebhookKey } from './webhook-key.entity.ts';
import { type ChannelState, type ChannelType } from '@answerline/contracts';

/** Where people write: one Meta phone number, or the web chat. */
@Entity('channels')
@Unique('channels_workspace_uq', ['workspaceId', 'id'])
@Unique('channels_phone_number_uq', ['phoneNumberId'])
@ForeignKey(() => Chatbot, ['workspaceId', 'chatbotId'], ['workspaceId', 'id'], { name: 'channels_chatbot_fk' })
@ForeignKey(() => WebhookKey, ['workspaceId', 'webhookKeyId'], ['workspaceId', 'id'], {
  name: 'channels_webhook_key_fk',
})
export class Channel {
  @PrimaryColumn({ type: 'uuid', primaryKeyConstraintName: 'channels_pk' })
  id!: string;

  @Column({ name: 'workspace_id', type: 'uuid' })
  workspaceId!: string;

  @Column({ name: 'chatbot_id', type: 'uuid' })
  chatbotId!: string;

  @Column({ name: 'webhook_key_id', type: 'uuid', nullable: true })
  webhookKeyId!: string | null;

  @Column({ type: 'text' })
  type!: ChannelType;

  @Column({ type: 'text' })
  state!: ChannelState;

  /** False: what comes in is stored, nothing is said. */
  @Column({ type: 'boolean', default: true })
  answers!: boolean;

  @Column({ name: 'phone_number_id', type: 'text', nullable: true })
  phoneNumberId!: string | null;

  @Column({ name: 'waba_id', type: 'text', nullable: true })
  wabaId!: string | null;

  @Column({ name: 'display_phone_number', type: 'text', nullable: true })
  displayPhoneNumber!: string | null;

  @Column({ name: 'access_token_ciphertext', type: 'text', nullable: true })
  accessTokenCiphertext!: string | null;

  /** Set while Meta refuses the credentials: sends wait until the channel is connected again. */
  @Column({ name: 'send_hold_code', type: 'text', nullable: true })
  sendHoldCode!: string | null;

  /** Meta: 80 by default, 20 in coexistence, up to 1,000. */
  @Column({ name: 'messages_per_second', type: 'integer', default: 80 })
  messagesPerSecond!: number;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

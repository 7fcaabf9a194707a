import { Column, Entity, ForeignKey, Index, PrimaryColumn, Unique } from 'typeorm';
import { Chatbot } from './chatbot.entity.ts';
import { WebhookKey } from './webhook-key.entity.ts';
import { type ChannelState, type ChannelType } from '@answerline/contracts';

/** Where people write: one Meta phone number, or the web chat. */
@Entity('channels')
@Unique('channels_workspace_uq', ['workspaceId', 'id'])
@Index('channels_phone_number_uq', ['phoneNumberId'], { unique: true, where: `state <> 'disconnected'` })
@Index('channels_own_phone_number_uq', ['workspaceId', 'phoneNumberId'], { unique: true })
@Index('channels_webhook_key_idx', ['webhookKeyId'])
@Index('channels_not_live_idx', ['id'], { where: `state IN ('validated', 'webhook_verified')` })
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

  /** Codes of what keeps it from being live, or will; worst first. */
  @Column({ name: 'state_reasons', type: 'text', array: true, default: [] })
  stateReasons!: string[];

  /** The webhook key through which its first event came. With another key it has not been heard yet. */
  @Column({ name: 'heard_key_id', type: 'uuid', nullable: true })
  heardKeyId!: string | null;

  @Column({ name: 'heard_at', type: 'timestamptz', nullable: true })
  heardAt!: Date | null;

  /** Meta: 80 by default, 20 in coexistence, up to 1,000. */
  @Column({ name: 'messages_per_second', type: 'integer', default: 80 })
  messagesPerSecond!: number;

  /** Whether we told Meta to deliver this number here, whatever its app's callback is. Disconnecting takes it back. */
  @Column({ name: 'has_number_override', type: 'boolean', default: false })
  hasNumberOverride!: boolean;

  @Column({ name: 'verified_name', type: 'text', nullable: true })
  verifiedName!: string | null;

  /** GREEN, YELLOW, RED or UNKNOWN, as Meta last said. */
  @Column({ name: 'quality_rating', type: 'text', nullable: true })
  qualityRating!: string | null;

  /** STANDARD, HIGH or NOT_APPLICABLE, as Meta last said. */
  @Column({ name: 'throughput_level', type: 'text', nullable: true })
  throughputLevel!: string | null;

  /** Also in use in the WhatsApp Business app. */
  @Column({ name: 'is_on_biz_app', type: 'boolean', nullable: true })
  isOnBizApp!: boolean | null;

  @Column({ name: 'created_at', type: 'timestamptz', default: () => 'now()' })
  createdAt!: Date;
}

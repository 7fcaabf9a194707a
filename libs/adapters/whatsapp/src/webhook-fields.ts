/**
 * The webhook fields that every app knows which we read (META 2, "Subscribe at least"). Without `messages` nothing arrives;
 * without `smb_message_echoes` the AI talks on while somebody answers in the WhatsApp Business app.
 */
export const CORE_WEBHOOK_FIELDS = [
  'messages',
  'account_update',
  'phone_number_quality_update',
  'account_alerts',
  'message_template_status_update',
  'user_id_update',
  'smb_message_echoes',
] as const;

/** Those, and what tells that Meta's own agent has a conversation. Not every app is offered these two. */
export const WEBHOOK_FIELDS = [...CORE_WEBHOOK_FIELDS, 'standby', 'messaging_handovers'] as const;

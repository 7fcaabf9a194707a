import { type SecretBox } from '@answerline/secrets';
import { type WebhookTarget } from '@answerline/whatsapp';

/** The ciphertexts of a webhook key's row. */
export interface StoredWebhookKey {
  readonly id: string;
  readonly workspaceId: string;
  readonly key: string;
  readonly verifyToken: string;
}

/** What Meta is told of a webhook key. `publicUrl` without a closing slash. */
export function openWebhookSettings(
  secretBox: SecretBox,
  { id, workspaceId, key, verifyToken }: StoredWebhookKey,
  publicUrl: string,
): WebhookTarget {
  const open = (ciphertext: string, column: string): string =>
    secretBox.open(ciphertext, { workspaceId, table: 'webhook_keys', rowId: id, column });
  return {
    callbackUrl: `${publicUrl}/webhooks/whatsapp/${open(key, 'key_ciphertext')}`,
    verifyToken: open(verifyToken, 'verify_token_ciphertext'),
  };
}

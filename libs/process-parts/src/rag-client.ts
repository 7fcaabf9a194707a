import { type Secret } from '@answerline/config';
import { type StartingProcess } from '@answerline/lifecycle';
import { RagClient } from '@answerline/rag-client';

/** The client of rag, closed when the process stops. Readiness does not ask it: webhooks are taken without rag. */
export function ragClient(
  starting: StartingProcess,
  { url, token }: { readonly url: string; readonly token: Secret },
): RagClient {
  const client = new RagClient({ url, token: token.reveal() });
  starting.onStop('rag client', () => client.close());
  return client;
}

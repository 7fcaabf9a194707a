import { setTimeout as delay } from 'node:timers/promises';
import { chatbotSchema, connectedChannelSchema, createdWorkspaceSchema, sourceSchema } from '@answerline/contracts';

const indexedWithinMs = 60_000;

export interface WhatsAppNumber {
  readonly phoneNumberId: string;
  readonly appSecret: string;
  readonly accessToken: string;
  /** Its Meta app and account: {@link metaAccount}, unless told. */
  readonly appId?: string;
  readonly wabaId?: string;
}

/** The Meta app and account of most numbers here. */
export const metaAccount = { appId: '1', wabaId: '102290129340398' };

/** A workspace of its own through the public API, as a customer would make it. */
export class ManagementApi {
  readonly #url: string;
  readonly #apiKey: string;

  private constructor(url: string, apiKey: string) {
    this.#url = url;
    this.#apiKey = apiKey;
  }

  static async ofNewWorkspace(url: string, operatorKey: string): Promise<ManagementApi> {
    const answer = await call(url, 'POST', '/workspaces', operatorKey, { name: 'Bench' });
    return new ManagementApi(url, createdWorkspaceSchema.parse(answer).apiKey);
  }

  /** @returns its id */
  async createChatbot(settings: { readonly quietMs?: number; readonly quietMaxMs?: number } = {}): Promise<string> {
    const answer = await this.#call('POST', '/chatbots', { name: 'Bench', ...settings });
    return chatbotSchema.parse(answer).id;
  }

  /** Adds a Markdown source and waits until it can be found. @returns its passages */
  async addSource(chatbotId: string, title: string, text: string): Promise<number> {
    const created = await this.#call('POST', `/chatbots/${chatbotId}/sources`, { type: 'markdown', title, text });
    const { id } = sourceSchema.parse(created);
    const deadline = performance.now() + indexedWithinMs;
    for (;;) {
      const { state, passageCount } = sourceSchema.parse(await this.#call('GET', `/sources/${id}`));
      if (state === 'ready') return passageCount;
      if (state === 'failed' || performance.now() > deadline) throw new Error('The source was not indexed.');
      await delay(20);
    }
  }

  /** The sandbox must know the number; by this it knows its callback too. */
  async connectWhatsApp(
    chatbotId: string,
    number: WhatsAppNumber,
  ): Promise<{ readonly channelId: string; readonly webhookPath: string }> {
    const settings = { ...metaAccount, ...number };
    const answer = await this.#call('PUT', `/chatbots/${chatbotId}/channels/whatsapp`, settings);
    const { id, callbackUrl } = connectedChannelSchema.parse(answer);
    return { channelId: id, webhookPath: new URL(callbackUrl).pathname };
  }

  #call(method: string, path: string, body?: object): Promise<unknown> {
    return call(this.#url, method, path, this.#apiKey, body);
  }
}

async function call(url: string, method: string, path: string, key: string, body?: object): Promise<unknown> {
  const response = await fetch(`${url}/api/v1${path}`, {
    method,
    headers: { authorization: `Bearer ${key}`, ...(body && { 'content-type': 'application/json' }) },
    ...(body && { body: JSON.stringify(body) }),
  });
  if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
  return response.json();
}

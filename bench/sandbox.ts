import { setTimeout as delay } from 'node:timers/promises';
import { metaAccount } from './management-api.ts';
import { type Workplace } from './workplace.ts';

/** A business number of the sandbox and, where no product says it to Meta, where its webhooks go. */
export interface SandboxNumber {
  readonly phoneNumberId: string;
  readonly accessToken: string;
  readonly appSecret: string;
  readonly callbackUrl?: string;
  /** Its Meta app and account: those of all, unless told. */
  readonly appId?: string;
  readonly wabaId?: string;
}

/** A message of a customer. */
export interface CustomerMessage {
  readonly phoneNumberId: string;
  /** Digits. */
  readonly waId: string;
  readonly text: string;
}

/** A line of the sandbox's files, as far as a bench reads it. */
export interface SandboxEntry {
  readonly n: number;
  readonly at: string;
  readonly phoneNumberId: string;
  /** Of a customer's message. */
  readonly id?: string;
  /** Of a reply: the message that it quotes. */
  readonly contextMessageId?: string;
}

const pollMs = 20;

/** The sandbox as a process of its own, without limits, whose phones read each reply: three statuses a turn. */
export class Sandbox {
  readonly url: string;
  readonly pid: number;

  private constructor(url: string, pid: number) {
    this.url = url;
    this.pid = pid;
  }

  static async start(workplace: Workplace): Promise<Sandbox> {
    const started = await workplace.start('sandbox', {
      file: 'apps/sandbox/dist/main.js',
      env: { SANDBOX_PORT: '0', DATA_DIR: workplace.folder },
      ready: /^SANDBOX-READY /,
    });
    const sandbox = new Sandbox(started.readyLine.slice('SANDBOX-READY '.length), started.pid);
    await sandbox.#call('PUT', '/limits', { pairRate: false, messagesPerSecond: 100_000 });
    await sandbox.#call('PUT', '/delivery', { autoRead: true });
    return sandbox;
  }

  async addNumber({ phoneNumberId, ...settings }: SandboxNumber): Promise<void> {
    await this.#call('PUT', `/numbers/${phoneNumberId}`, {
      ...metaAccount,
      ...settings,
      displayPhoneNumber: '+1 555-010-0199',
      verifiedName: 'Bench',
      verifyToken: 'bench',
    });
  }

  /** @returns Meta's ids of the messages */
  async write(messages: readonly CustomerMessage[]): Promise<readonly string[]> {
    return ((await this.#call('POST', '/messages', { messages })) as { messageIds: string[] }).messageIds;
  }

  /** Replies that were accepted, numbered above `after`. */
  async replies(after: number): Promise<readonly SandboxEntry[]> {
    return this.#entries(`/journal?kind=text&limit=100000&after=${after}`);
  }

  /** What customers wrote, numbered above `after`. */
  async inbound(after: number): Promise<readonly SandboxEntry[]> {
    return this.#entries(`/inbound?limit=100000&after=${after}`);
  }

  /** The newest number of each file. */
  async marks(): Promise<{ readonly replies: number; readonly inbound: number }> {
    const last = async (file: string) => ((await this.#call('GET', `/${file}?limit=1`)) as { last: number }).last;
    return { replies: await last('journal'), inbound: await last('inbound') };
  }

  /** Waits until every webhook was delivered, the last status too. */
  async untilDelivered(): Promise<void> {
    for (;;) {
      if (((await this.#call('GET', '/deliveries')) as { pending: number }).pending === 0) return;
      await delay(pollMs);
    }
  }

  async #entries(path: string): Promise<readonly SandboxEntry[]> {
    return ((await this.#call('GET', path)) as { items: SandboxEntry[] }).items;
  }

  async #call(method: string, path: string, body?: object): Promise<unknown> {
    const response = await fetch(`${this.url}/sandbox${path}`, {
      method,
      ...(body && { headers: { 'content-type': 'application/json' }, body: JSON.stringify(body) }),
    });
    if (!response.ok) throw new Error(`${method} ${path} answered ${response.status}: ${await response.text()}`);
    return response.json();
  }
}

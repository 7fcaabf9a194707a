import { type AddressInfo } from 'node:net';
import { ConfigError } from '@answerline/config';
import { simpleParser } from 'mailparser';
import { SMTPServer } from 'smtp-server';
import { AppendLog } from './append-log.ts';
import { type MailboxFaults, type MailFields } from './mailbox-schemas.ts';

/** More than the product ever sends; what is larger is refused as servers do. */
const maxMailBytes = 10 * 1024 * 1024;
/** Clients that are connected when it closes get this long, then they are cut off. */
const closeTimeoutMs = 50;
const loopback = '127.0.0.1';

/** Everything that works. */
export const noMailboxFaults: MailboxFaults = { isAway: false, refuse: null, lostAnswers: 0 };

/**
 * A mail server that takes everything and passes nothing on. A mail is in `sandbox-mails.jsonl` before the server says 250. It speaks
 * without TLS and without a password, so it listens on loopback only.
 */
export class Mailbox {
  faults = noMailboxFaults;
  #server: SMTPServer | undefined;
  #port = 0;

  private constructor(
    readonly mails: AppendLog<MailFields>,
    private readonly now: () => number,
  ) {}

  /** Opens the file in `dataDir` and listens. @throws ConfigError when it cannot */
  static async open(options: {
    readonly dataDir: string;
    /** 0 takes a free one. */
    readonly port: number;
    readonly now: () => number;
  }): Promise<Mailbox> {
    const mails = await AppendLog.open<MailFields>(`${options.dataDir}/sandbox-mails.jsonl`);
    const mailbox = new Mailbox(mails, options.now);
    mailbox.#port = options.port;
    try {
      await mailbox.#listen();
    } catch (error) {
      await mails.close();
      throw error;
    }
    return mailbox;
  }

  /** For SMTP_URL. */
  get url(): string {
    return `smtp://${loopback}:${String(this.#port)}`;
  }

  /** What goes wrong from now on. A mailbox that is away cannot be connected to; it comes back under the same port. */
  async setFaults(faults: MailboxFaults): Promise<void> {
    this.faults = faults;
    if (faults.isAway) await this.#stop();
    else if (!this.#server) await this.#listen();
  }

  /** Forgets all mails and faults. */
  async reset(): Promise<void> {
    await this.setFaults(noMailboxFaults);
    await this.mails.clear();
  }

  async close(): Promise<void> {
    await this.#stop();
    await this.mails.close();
  }

  async #listen(): Promise<void> {
    const server = new SMTPServer({
      disabledCommands: ['STARTTLS', 'AUTH'],
      disableReverseLookup: true,
      size: maxMailBytes,
      closeTimeout: closeTimeoutMs,
      logger: false,
      onMailFrom: (_address, _session, callback) => callback(this.#refusalAt('sender')),
      onRcptTo: (_address, _session, callback) => callback(this.#refusalAt('recipient')),
      onData: (stream, session, callback) => {
        const refusal = this.#refusalAt('message');
        const { mailFrom, rcptTo } = session.envelope;
        const from = mailFrom ? mailFrom.address : '';
        const to = rcptTo.map(({ address }) => address);
        void this.#take(stream, from, to, refusal === null).then(
          () => {
            if (refusal === null && this.#losesAnswer()) cutOff(server, session.id);
            else callback(refusal);
          },
          () => callback(reply(451, 'The mail could not be read.')),
        );
      },
    });
    // Of one connection; the others go on. A failed listen is told below.
    server.on('error', () => undefined);
    await new Promise<void>((resolve, reject) => {
      const onError = (error: NodeJS.ErrnoException) =>
        reject(
          new ConfigError([`The sandbox's mailbox cannot listen on port ${String(this.#port)}: ${error.code ?? ''}`]),
        );
      server.server.once('error', onError);
      server.listen(this.#port, loopback, () => {
        server.server.off('error', onError);
        resolve();
      });
    });
    this.#port = (server.server.address() as AddressInfo).port;
    this.#server = server;
  }

  async #stop(): Promise<void> {
    const server = this.#server;
    this.#server = undefined;
    if (server) await new Promise<void>((resolve) => server.close(resolve));
  }

  async #take(stream: NodeJS.ReadableStream, from: string, to: string[], isKept: boolean): Promise<void> {
    const chunks: Buffer[] = [];
    for await (const chunk of stream) chunks.push(chunk as Buffer);
    if (isKept) await this.mails.append(await readMail(Buffer.concat(chunks), from, to, this.now()));
  }

  #refusalAt(step: NonNullable<MailboxFaults['refuse']>['at']): Error | null {
    const { refuse } = this.faults;
    if (refuse?.at !== step || refuse.times === 0) return null;
    this.faults = { ...this.faults, refuse: { ...refuse, times: refuse.times - 1 } };
    return reply(refuse.status, 'Refused, as was asked for.');
  }

  #losesAnswer(): boolean {
    const { lostAnswers } = this.faults;
    if (lostAnswers === 0) return false;
    this.faults = { ...this.faults, lostAnswers: lostAnswers - 1 };
    return true;
  }
}

/** An error that the server gives as this reply. */
function reply(status: number, text: string): Error {
  return Object.assign(new Error(text), { responseCode: status });
}

/** Ends the client's connection in place of an answer. */
function cutOff(server: SMTPServer, sessionId: string): void {
  for (const connection of server.connections as Set<{ session?: { id: string }; _socket?: { destroy(): void } }>) {
    if (connection.session?.id === sessionId) connection._socket?.destroy();
  }
}

async function readMail(source: Buffer, from: string, to: string[], nowMs: number): Promise<MailFields> {
  const parsed = await simpleParser(source, { skipTextToHtml: true, skipHtmlToText: true });
  const headers: Record<string, string> = {};
  for (const { key, line } of parsed.headerLines) {
    const value = line.slice(line.indexOf(':') + 1).trim();
    headers[key] = key in headers ? `${headers[key] ?? ''}\n${value}` : value;
  }
  return {
    at: new Date(nowMs).toISOString(),
    from,
    to,
    subject: parsed.subject ?? '',
    headers,
    text: parsed.text ?? '',
    html: parsed.html || '',
    attachments: parsed.attachments.map(({ filename, contentType, content }) => ({
      filename: filename ?? '',
      contentType,
      text: content.toString('utf8'),
    })),
  };
}

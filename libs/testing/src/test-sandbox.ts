import { randomBytes } from 'node:crypto';
import { type Database } from '@answerline/persistence';
import {
  startSandbox,
  type DeliverySettings,
  type Faults,
  type JournalEntry,
  type Limits,
  type MailboxFaults,
  type MailEntry,
  type ManagementEntry,
  type RunningSandbox,
  type SandboxNumber,
} from '@answerline/sandbox';
import { SecretBox } from '@answerline/secrets';
import { type SeededChannel } from './seed.ts';
import { tempDir } from './temp-dir.ts';

/** Meta's side of the wire for one spec file, and what a spec does with it. */
export interface TestSandbox {
  /** For `META_GRAPH_BASE_URL`. */
  readonly url: string;
  /** Of its mailbox, for `SMTP_URL`. */
  readonly smtpUrl: string;
  readonly secrets: SecretBox;
  /** Makes the number of a seeded channel known at Meta, and its token to the channel. Webhooks go nowhere unless told. */
  connect(database: Database, channel: SeededChannel, number?: Partial<SandboxNumber>): Promise<SandboxNumber>;
  /** Accepted calls of one number, oldest first. */
  calls(channel: Pick<SeededChannel, 'phoneNumberId'>, kind?: JournalEntry['kind']): Promise<JournalEntry[]>;
  /** Every other Graph call, accepted or refused, oldest first. */
  managementCalls(): Promise<ManagementEntry[]>;
  faults(faults: Partial<Faults>): Promise<void>;
  limits(limits: Partial<Limits>): Promise<void>;
  delivery(settings: Partial<DeliverySettings>): Promise<void>;
  /** Mails that were taken, oldest first. */
  mails(): Promise<MailEntry[]>;
  /** What goes wrong with mails; all works unless told. */
  mailFaults(faults: Partial<MailboxFaults>): Promise<void>;
  /** Any other address under `/sandbox`. */
  control<Answer = Record<string, unknown>>(method: string, path: string, body?: unknown): Promise<Answer>;
  close(): Promise<void>;
}

/** Journal lines that one request may ask for. */
const JOURNAL_PAGE = 10_000;

/** Starts a sandbox on a free port with its files in a temporary folder. Nobody is unknown to it, and it delivers nothing; `numbers` are known from the start. */
export async function startTestSandbox({
  numbers = [],
}: { readonly numbers?: readonly SandboxNumber[] } = {}): Promise<TestSandbox> {
  const sandbox: RunningSandbox = await startSandbox({ host: '127.0.0.1', port: 0, dataDir: await tempDir(), numbers });
  const secrets = new SecretBox([{ id: 'k1', key: randomBytes(32) }]);
  const control = async <Answer>(method: string, path: string, body?: unknown): Promise<Answer> => {
    const response = await fetch(`${sandbox.url}/sandbox${path}`, {
      method,
      ...(body === undefined ? {} : { body: JSON.stringify(body), headers: { 'content-type': 'application/json' } }),
    });
    if (!response.ok) throw new Error(`${method} ${path}: ${String(response.status)} ${await response.text()}`);
    return (await response.json()) as Answer;
  };
  const connect: TestSandbox['connect'] = async (database, channel, given = {}) => {
    const { workspaceId, channelId, phoneNumberId } = channel;
    const number: SandboxNumber = {
      phoneNumberId,
      displayPhoneNumber: '+1 202 555 0199',
      verifiedName: 'Seeded',
      wabaId: '1',
      appId: '1',
      accessToken: `EAA${randomBytes(12).toString('hex')}`,
      appSecret: randomBytes(16).toString('hex'),
      callbackUrl: 'http://127.0.0.1:9/',
      verifyToken: randomBytes(8).toString('hex'),
      ...given,
    };
    const { phoneNumberId: id, ...settings } = number;
    await control('PUT', `/numbers/${id}`, settings);
    await database.query('UPDATE channels SET access_token_ciphertext = $2 WHERE id = $1', [
      channelId,
      secrets.seal(number.accessToken, {
        workspaceId,
        table: 'channels',
        rowId: channelId,
        column: 'access_token_ciphertext',
      }),
    ]);
    return number;
  };
  await control('PUT', '/limits', { pairRate: false, unknownRecipient: 'undeliverable' });
  await control('PUT', '/delivery', { paused: true });
  return {
    url: sandbox.url,
    smtpUrl: sandbox.smtpUrl,
    secrets,
    connect,
    calls: async ({ phoneNumberId }, kind = 'text') => {
      const { items } = await control<{ items: JournalEntry[] }>(
        'GET',
        `/journal?kind=${kind}&limit=${String(JOURNAL_PAGE)}`,
      );
      return items.filter((entry) => entry.phoneNumberId === phoneNumberId);
    },
    managementCalls: async () => {
      const path = `/journal?kind=management&limit=${String(JOURNAL_PAGE)}`;
      return (await control<{ items: ManagementEntry[] }>('GET', path)).items;
    },
    faults: async (faults) => void (await control('PUT', '/faults', faults)),
    limits: async (limits) => void (await control('PUT', '/limits', limits)),
    delivery: async (settings) => void (await control('PUT', '/delivery', settings)),
    mails: async () => (await control<{ items: MailEntry[] }>('GET', '/mails')).items,
    mailFaults: async (faults) => void (await control('PUT', '/mailbox', faults)),
    control,
    close: () => sandbox.close(),
  };
}

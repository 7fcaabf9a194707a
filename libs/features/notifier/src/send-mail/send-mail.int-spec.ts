import { createLogger } from '@answerline/logging';
import { Mailer, NoMailer, type OutgoingMail, SmtpMailer } from '@answerline/mail';
import { MessageBus } from '@answerline/messaging';
import {
  addMail,
  Database,
  mailProblem,
  migrateDatabase,
  newId,
  noteMailSetup,
  type MailKind,
  type MailSubjects,
} from '@answerline/persistence';
import {
  captureLogs,
  createTestDatabase,
  eventually,
  seedChannel,
  seedConversation,
  seedMessages,
  seedReply,
  startTestNats,
  startTestSandbox,
  type SeededConversation,
  type TestDatabase,
  type TestNats,
  type TestSandbox,
} from '@answerline/testing';
import { afterAll, beforeAll, beforeEach, describe, expect, it } from '@jest/globals';
import { claimMails, endMail, markWaitingMails } from './claim-mails.ts';
import { SendMail } from './send-mail.ts';
import { workOnMails } from './send-mail.worker.ts';

const owner = 'owner@example.com';
const operatorEmail = 'operator@example.com';
const upgradeUrl = 'https://example.com/plans';
const never = new AbortController().signal;
const logger = createLogger({ app: 'spec', level: 'silent' });

let testDatabase: TestDatabase;
let database: Database;
let nats: TestNats;
let bus: MessageBus;
let sandbox: TestSandbox;
let mailer: Mailer;
let seeded: SeededConversation;

beforeAll(async () => {
  [testDatabase, nats, sandbox] = await Promise.all([
    createTestDatabase(migrateDatabase),
    startTestNats(),
    startTestSandbox(),
  ]);
  database = await Database.connect({ url: testDatabase.url, applicationName: 'mail-spec' });
  bus = await MessageBus.connect({
    url: nats.url,
    token: nats.token,
    name: 'mail-spec',
    logger,
    profile: 'standalone',
  });
  mailer = new SmtpMailer({ url: sandbox.smtpUrl, from: 'Answerline <no-reply@answerline.example>' });
});
afterAll(async () => {
  mailer.close();
  await Promise.all([bus.close(), sandbox.close(), database.close()]);
  await Promise.all([nats.stop(), testDatabase.drop()]);
});
beforeEach(async () => {
  await database.query('DELETE FROM mails');
  await sandbox.control('POST', '/reset');
  seeded = await workspace();
});

/** A workspace with an owner who can be reached, and a conversation in it. */
async function workspace(plan = 'scale'): Promise<SeededConversation> {
  const conversation = await seedConversation(database, await seedChannel(database, { plan }));
  await database.query('UPDATE workspaces SET owner_email = $2 WHERE id = $1', [conversation.workspaceId, owner]);
  await database.query(`UPDATE contacts SET name = 'Customer A' WHERE id = $1`, [conversation.contactId]);
  return conversation;
}

async function add<Kind extends MailKind>(
  kind: Kind,
  about: MailSubjects[Kind],
  workspaceId = seeded.workspaceId,
): Promise<string> {
  const dedupeKey = `${kind}:${newId()}`;
  await database.transaction(async (sql) => addMail(sql, { workspaceId, kind, about, dedupeKey }));
  const [row] = await database.query<{ id: string }>('SELECT id FROM mails WHERE dedupe_key = $1', [dedupeKey]);
  return row?.id ?? '';
}
const addHandoff = (conversation = seeded) =>
  add('handoff', { conversationId: conversation.conversationId }, conversation.workspaceId);

const sendMail = (more: { mailer?: Mailer; operatorEmail?: string | undefined; logger?: typeof logger } = {}) =>
  new SendMail({
    database,
    mailer: more.mailer ?? mailer,
    options: {
      operatorEmail: 'operatorEmail' in more ? more.operatorEmail : operatorEmail,
      upgradeUrl,
      publicUrl: 'https://answerline.example.com',
    },
    logger: more.logger ?? logger,
  });

/** One round of a worker. Returns the ids of the mails that it took. */
async function round(worker = sendMail()): Promise<string[]> {
  const mails = await worker.claim(10);
  await Promise.all(mails.map((mail) => worker.execute(mail, never)));
  return mails.map(({ id }) => id);
}

const row = async (id: string) =>
  (
    await database.query<{
      state: string;
      error_code: string | null;
      tries: number;
      waits_s: number | null;
      leased: boolean;
    }>(
      `SELECT state, error_code, tries, round(extract(epoch FROM due_at - clock_timestamp()))::int AS waits_s,
              lease_until IS NOT NULL AS leased FROM mails WHERE id = $1`,
      [id],
    )
  )[0];
/** Pauses and leases are over. */
const timePasses = () =>
  database.query(`UPDATE mails SET due_at = now(), lease_until = now() - interval '1 s' WHERE state = 'pending'`);
const messageIds = async () => (await sandbox.mails()).map(({ headers }) => headers['message-id']);

describe('each kind of mail', () => {
  it('handoff: who, what was said, and how to answer', async () => {
    await database.query(
      `UPDATE conversations SET owner = 'human', muted_until = '2026-11-24T12:00:00Z' WHERE id = $1`,
      [seeded.conversationId],
    );
    await database.query(`UPDATE chatbots SET name = 'Bakery' WHERE id = $1`, [seeded.chatbotId]);
    await seedMessages(database, seeded, [{ text: 'Do you bake <b>rye</b>?', sentAgoMs: 60_000 }]);
    await seedReply(database, seeded, { parts: ['Every day.'] });
    await seedMessages(database, seeded, [{ text: 'Human please', sentAgoMs: -1_000 }]);
    const id = await addHandoff();
    expect(await round()).toEqual([id]);
    const [mail, ...more] = await sandbox.mails();
    expect(more).toEqual([]);
    expect(mail).toMatchObject({
      from: 'no-reply@answerline.example',
      to: [owner],
      subject: `Somebody asks for a person (conversation ${seeded.conversationId})`,
    });
    const said = ['Do you bake <b>rye</b>?', 'Every day.', 'Human please'];
    const places = said.map((text) => mail?.text.indexOf(`    ${text}\n`) ?? -1);
    expect(places).toEqual(places.toSorted((a, b) => a - b));
    expect(Math.min(...places)).toBeGreaterThan(0);
    expect(mail?.html).toContain('Do you bake &lt;b&gt;rye&lt;/b&gt;?');
    expect(mail?.text).toContain('Contact: Customer A');
    expect(mail?.text).toContain(`Phone: +${seeded.address}`);
    expect(mail?.text).toContain(`Chatbot: Bakery (${seeded.chatbotId})`);
    expect(mail?.text).toContain('until 2026-11-24 12:00.');
    expect(mail?.text).toContain(
      `https://answerline.example.com/api/v1/conversations/${seeded.conversationId}/messages`,
    );
    expect(mail?.attachments).toMatchObject([
      { filename: `conversation-${seeded.conversationId}.txt`, contentType: 'text/plain' },
    ]);
    for (const text of said) expect(mail?.attachments[0]?.text).toContain(text);
    const headers = JSON.stringify(mail?.headers);
    for (const personal of ['Customer', seeded.address, 'rye', 'Human', 'Bakery'])
      expect(headers).not.toContain(personal);
    expect(mail?.headers['auto-submitted']).toBe('auto-generated');
    expect(await row(id)).toMatchObject({ state: 'sent', error_code: null, waits_s: null, leased: false });
    expect(await round()).toEqual([]);
  });

  it('quota: what is used, what happens next', async () => {
    seeded = await workspace('growth');
    await database.query(`INSERT INTO usage (workspace_id, month, used) VALUES ($1, '2026-11', 4100)`, [
      seeded.workspaceId,
    ]);
    await add('quota', { month: '2026-11', percent: 80 });
    await round();
    const [mail] = await sandbox.mails();
    expect(mail?.subject).toBe('80 % of the AI replies of 2026-11 are used');
    expect(mail?.text).toContain('4100 of the 5000 AI replies');
    expect(mail?.text).toContain(upgradeUrl);
  });

  it('channel_alarm and channel_suspended: what is wrong and what to do, in the language of the chatbot', async () => {
    await database.query(`UPDATE chatbots SET language = 'es' WHERE id = $1`, [seeded.chatbotId]);
    await add('channel_alarm', { channelId: seeded.channelId, code: 'token_expired', daysLeft: null });
    await add('channel_alarm', { channelId: seeded.channelId, code: 'token_valid', daysLeft: 7 });
    await add('channel_suspended', { channelId: seeded.channelId });
    for (let n = 0; n < 3; n += 1) await round();
    const mails = await sandbox.mails();
    expect(mails.map(({ subject }) => subject)).toEqual([
      `WhatsApp necesita su atención: token_expired (canal ${seeded.channelId})`,
      `WhatsApp: el token de acceso caduca en 7 día(s) (canal ${seeded.channelId})`,
      `El plan ha desactivado WhatsApp (canal ${seeded.channelId})`,
    ]);
    expect(mails[0]?.text).toContain('Genere un token permanente');
  });
});

describe('who gets a mail', () => {
  it('the chatbot’s addresses, else the owner, else the operator; each once, and only what is an address', async () => {
    const told: string[][] = [];
    const steps = [
      `UPDATE chatbots SET notify_emails = ARRAY['a@example.com', 'not one', 'b@example.com, c@example.com', 'a@example.com']`,
      `UPDATE chatbots SET notify_emails = ARRAY['x', E'a@b.example\\nBcc: c@d.example']`,
      'UPDATE workspaces SET owner_email = NULL',
    ];
    for (const step of steps) {
      await database.query(step);
      await addHandoff();
      await round();
      told.push([...((await sandbox.mails()).at(-1)?.to ?? [])]);
    }
    expect(told).toEqual([['a@example.com'], [owner], [operatorEmail]]);
  });

  it('nobody: the mail has failed, and the doctor is told', async () => {
    const nobody = { workspaceId: seeded.workspaceId, chatbotId: seeded.chatbotId };
    await noteMailSetup(database, { canSend: true, hasOperator: false });
    expect(await mailProblem(database, nobody)).toBeNull();
    await database.query('UPDATE workspaces SET owner_email = NULL');
    const id = await addHandoff();
    await round(sendMail({ operatorEmail: undefined }));
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'no_recipient', waits_s: null });
    expect(await sandbox.mails()).toEqual([]);
    expect(await mailProblem(database, nobody)).toBe('mail_not_configured');
    await database.query(`UPDATE chatbots SET notify_emails = ARRAY['a@example.com'] WHERE id = $1`, [
      seeded.chatbotId,
    ]);
    expect(await mailProblem(database, nobody)).toBeNull();
    await noteMailSetup(database, { canSend: false, hasOperator: true });
    expect(await mailProblem(database, nobody)).toBe('mail_not_configured');
  });

  it('a server that refuses one of two recipients has taken the mail', async () => {
    await database.query(`UPDATE chatbots SET notify_emails = ARRAY['a@example.com', 'b@example.com'] WHERE id = $1`, [
      seeded.chatbotId,
    ]);
    await sandbox.mailFaults({ refuse: { at: 'recipient', status: 550, times: 1 } });
    const id = await addHandoff();
    await round();
    expect(await sandbox.mails()).toMatchObject([{ to: ['b@example.com'] }]);
    expect(await row(id)).toMatchObject({ state: 'sent', error_code: 'some_recipients_refused' });
  });
});

describe('what is gone meanwhile', () => {
  it('a deleted contact or conversation, a disconnected channel and a quota of a bigger plan are not written about', async () => {
    await database.query(`INSERT INTO usage (workspace_id, month, used) VALUES ($1, '2026-11', 100)`, [
      seeded.workspaceId,
    ]);
    const other = await seedConversation(database, seeded);
    const ids = [
      await addHandoff(),
      await addHandoff(other),
      await add('channel_alarm', { channelId: seeded.channelId, code: 'token_expired', daysLeft: null }),
      await add('quota', { month: '2026-11', percent: 80 }),
    ];
    await database.query('DELETE FROM contacts WHERE id = $1', [seeded.contactId]);
    await database.query('DELETE FROM conversations WHERE id = $1', [other.conversationId]);
    await database.query(`UPDATE channels SET state = 'disconnected' WHERE id = $1`, [seeded.channelId]);
    for (const _ of ids) await round();
    expect((await Promise.all(ids.map(row))).map((mail) => [mail?.state, mail?.error_code])).toEqual([
      ['failed', 'conversation_deleted'],
      ['failed', 'conversation_deleted'],
      ['failed', 'channel_disconnected'],
      ['failed', 'no_longer_true'],
    ]);
    expect(await sandbox.mails()).toEqual([]);
  });

  it('a conversation of another workspace is not there', async () => {
    const theirs = await workspace();
    const id = await add('handoff', { conversationId: theirs.conversationId });
    await round();
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'conversation_deleted' });
  });
});

describe('a server in trouble', () => {
  it.each(['sender', 'recipient', 'message'] as const)(
    '4xx at the %s: it is tried again later, under the same Message-ID',
    async (at) => {
      await sandbox.mailFaults({ refuse: { at, status: 451, times: 1 } });
      const id = await addHandoff();
      await round();
      expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'smtp_busy', tries: 1, leased: false });
      expect((await row(id))?.waits_s).toBeGreaterThan(5);
      expect(await round()).toEqual([]);
      await timePasses();
      await round();
      expect(await row(id)).toMatchObject({ state: 'sent', error_code: null, tries: 2 });
      expect(await messageIds()).toEqual([`<${id}@answerline.example>`]);
    },
  );

  it.each(['recipient', 'message'] as const)('5xx at the %s: it has failed, and the log has codes only', async (at) => {
    await sandbox.mailFaults({ refuse: { at, status: 550, times: 10 } });
    const logs = captureLogs();
    const id = await addHandoff();
    await round(sendMail({ logger: createLogger({ app: 'spec', level: 'debug', destination: logs.stream }) }));
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'smtp_refused', waits_s: null });
    await timePasses();
    expect(await round()).toEqual([]);
    expect(await sandbox.mails()).toEqual([]);
    expect(logs.text()).toContain('"status":550');
    for (const personal of [owner, 'Customer A', seeded.address]) expect(logs.text()).not.toContain(personal);
  });

  it('is tried for a day', async () => {
    await sandbox.mailFaults({ refuse: { at: 'message', status: 451, times: 10 } });
    const id = await addHandoff();
    await database.query('UPDATE mails SET tries = 29 WHERE id = $1', [id]);
    await round();
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'smtp_busy' });
  });

  it('away, then back: the mails go out in their order', async () => {
    await sandbox.mailFaults({ isAway: true });
    const ids = [await addHandoff(), await addHandoff(), await addHandoff()];
    await round();
    await round();
    await round();
    expect((await Promise.all(ids.map(row))).map((mail) => mail?.error_code)).toEqual(
      ids.map(() => 'smtp_unreachable'),
    );
    await sandbox.mailFaults({});
    await timePasses();
    for (const _ of ids) await round();
    expect(await messageIds()).toEqual(ids.map((id) => `<${id}@answerline.example>`));
  });

  it('an answer that is lost: the repeat has the same Message-ID', async () => {
    await sandbox.mailFaults({ lostAnswers: 1 });
    const id = await addHandoff();
    await round();
    expect(await row(id)).toMatchObject({ state: 'pending', tries: 1 });
    await timePasses();
    await round();
    expect(await messageIds()).toEqual([`<${id}@answerline.example>`, `<${id}@answerline.example>`]);
  });
});

/** Hands the mail over and then stands still, as a process does that is killed between the server's 250 and its commit. */
class StandingStill extends Mailer {
  readonly canSend = true;
  readonly #goOn = Promise.withResolvers<void>();
  readonly taken = Promise.withResolvers<void>();

  async send(mail: OutgoingMail, signal?: AbortSignal): Promise<{ readonly refusedRecipients: number }> {
    const result = await mailer.send(mail, signal);
    this.taken.resolve();
    await this.#goOn.promise;
    return result;
  }

  goOn(): void {
    this.#goOn.resolve();
  }

  close(): void {
    // It has nothing of its own.
  }
}

describe('processes', () => {
  it('killed between the 250 and the commit: the mail goes again under the same Message-ID, and the dead one’s word is void', async () => {
    const id = await addHandoff();
    const halted = new StandingStill();
    const doomed = sendMail({ mailer: halted });
    const [mail] = await doomed.claim(1);
    if (!mail) throw new Error('Nothing was claimed.');
    const end = doomed.execute(mail, never);
    await halted.taken.promise;
    expect(await round()).toEqual([]);
    await timePasses();
    await sandbox.mailFaults({ refuse: { at: 'message', status: 451, times: 1 } });
    expect(await round()).toEqual([id]);
    halted.goOn();
    await end;
    expect(await row(id)).toMatchObject({ state: 'pending', error_code: 'smtp_busy' });
    await timePasses();
    expect(await round()).toEqual([id]);
    expect(await row(id)).toMatchObject({ state: 'sent' });
    expect(await messageIds()).toEqual([`<${id}@answerline.example>`, `<${id}@answerline.example>`]);
  });

  it('two at once claim no mail twice, and of a workspace one at a time, the oldest first', async () => {
    const workspaces = await Promise.all(Array.from({ length: 6 }, () => workspace()));
    const ids = new Map<string, string[]>();
    for (const each of workspaces) {
      for (let n = 0; n < 4; n += 1)
        ids.set(each.workspaceId, [...(ids.get(each.workspaceId) ?? []), await addHandoff(each)]);
    }
    const claimed: string[] = [];
    for (let n = 0; n < 4; n += 1) {
      const rounds = await Promise.all(Array.from({ length: 4 }, () => claimMails(database, 3)));
      const more = rounds.length === 0 ? [] : rounds.flat();
      // What two processes met at is left for the next look.
      more.push(...(await claimMails(database, 10)));
      expect(new Set(more.map(({ workspaceId }) => workspaceId)).size).toBe(more.length);
      expect(more.map(({ id }) => id).toSorted()).toEqual(
        workspaces.map((each) => ids.get(each.workspaceId)?.[n]).toSorted(),
      );
      claimed.push(...more.map(({ id }) => id));
      for (const mail of more) expect(await endMail(database, mail, { state: 'sent', code: null })).toBe(true);
    }
    expect(new Set(claimed).size).toBe(24);
  });

  it('two notifiers send each of 60 mails once', async () => {
    const workspaces = await Promise.all(Array.from({ length: 6 }, () => workspace()));
    const ids = new Map<string, string[]>();
    const notifiers = [1, 2].map(() => workOnMails(bus, { sendMail: sendMail(), mailer, database, logger }));
    for (let n = 0; n < 10; n += 1) {
      for (const each of workspaces) {
        ids.set(each.workspaceId, [...(ids.get(each.workspaceId) ?? []), await addHandoff(each)]);
        bus.ring('mail');
      }
    }
    await eventually(async () => (await sandbox.mails()).length >= 60, { what: 'all mails', timeoutMs: 20_000 });
    await Promise.all(notifiers.map((notifier) => notifier.stop(5_000)));
    const sent = await messageIds();
    expect(sent.toSorted()).toEqual(
      [...ids.values()]
        .flat()
        .map((id) => `<${id}@answerline.example>`)
        .toSorted(),
    );
    for (const own of ids.values()) {
      const order = sent.filter((messageId) => own.some((id) => messageId?.includes(id)));
      expect(order).toEqual(own.map((id) => `<${id}@answerline.example>`));
    }
    expect(await database.query(`SELECT 1 FROM mails WHERE state <> 'sent' OR tries <> 1`)).toEqual([]);
  });

  it('a process that stops gives the mail back', async () => {
    const id = await addHandoff();
    const worker = sendMail();
    const [mail] = await worker.claim(1);
    if (!mail) throw new Error('Nothing was claimed.');
    await worker.execute(mail, AbortSignal.abort());
    expect(await row(id)).toMatchObject({ state: 'pending', tries: 0, leased: false });
    expect(await round()).toEqual([id]);
  });

  it('a row that is none of ours fails after a few tries and does not hold up the others', async () => {
    const bad = await add('handoff', { conversationId: 'none' });
    const good = await addHandoff();
    await round();
    expect(await row(bad)).toMatchObject({ state: 'pending', error_code: 'internal_error' });
    expect(await round()).toEqual([good]);
    for (let n = 0; n < 3; n += 1) {
      await timePasses();
      await round();
    }
    expect(await row(bad)).toMatchObject({ state: 'failed', error_code: 'internal_error', tries: 4 });
  });
});

describe('without a server for mails', () => {
  it('mails wait as mail_not_configured, the log says it once, and they go out when there is one', async () => {
    const logs = captureLogs();
    const none = new NoMailer();
    const id = await addHandoff();
    const door = workOnMails(bus, {
      sendMail: sendMail({ mailer: none }),
      mailer: none,
      database,
      logger: createLogger({ app: 'spec', level: 'debug', destination: logs.stream }),
    });
    await eventually(async () => (await row(id))?.error_code === 'mail_not_configured', { what: 'the mail is marked' });
    const second = await addHandoff();
    bus.ring('mail');
    await eventually(async () => (await row(second))?.error_code === 'mail_not_configured', {
      what: 'the next one too',
    });
    await door.stop(1_000);
    expect(logs.lines().filter(({ code }) => code === 'mail_not_configured')).toHaveLength(1);
    expect(await row(id)).toMatchObject({ state: 'pending', tries: 0 });
    await round();
    await round();
    expect(await messageIds()).toEqual([`<${id}@answerline.example>`, `<${second}@answerline.example>`]);
  });

  it('what has waited for a week is given up', async () => {
    const id = await addHandoff();
    await database.query(`UPDATE mails SET created_at = now() - interval '8 days' WHERE id = $1`, [id]);
    await markWaitingMails(database);
    expect(await row(id)).toMatchObject({ state: 'failed', error_code: 'mail_not_configured', waits_s: null });
  });
});

it('a mail is asked for once, whatever is repeated', async () => {
  const mail = {
    workspaceId: seeded.workspaceId,
    kind: 'handoff' as const,
    about: { conversationId: seeded.conversationId },
    dedupeKey: 'handoff:the-turn',
  };
  for (let n = 0; n < 3; n += 1) await database.transaction(async (sql) => addMail(sql, mail));
  await round();
  await round();
  expect(await sandbox.mails()).toHaveLength(1);
});

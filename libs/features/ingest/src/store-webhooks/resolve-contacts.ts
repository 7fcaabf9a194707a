import { newId, type Sql, type Transaction } from '@answerline/persistence';
import { matchKey, type WebhookParty } from '@answerline/whatsapp';

/** An address of a contact, verbatim; `matchKey` is the same for all spellings of one phone number. */
export interface Identity {
  readonly kind: 'wa_id' | 'bsuid' | 'parent_bsuid';
  readonly value: string;
  readonly matchKey: string;
}

/** A person as one item of a webhook names them. */
export interface Party {
  readonly workspaceId: string;
  /** All addresses that are known to be theirs. Never empty. */
  readonly identities: readonly Identity[];
  /** The one to write back to. */
  readonly replyTo: Identity;
  readonly name: string | undefined;
  readonly username: string | undefined;
}

/** Where a party was found or put. */
export interface ResolvedParty {
  readonly contactId: string;
  readonly replyToIdentityId: string;
  /** Of the contact's conversations, by channel, those that were found along the way. */
  readonly conversationIds: ReadonlyMap<string, string>;
}

interface IdentityRow {
  id: string;
  workspace_id: string;
  contact_id: string;
  kind: Identity['kind'];
  value: string;
  match_key: string;
  conversations?: { readonly id: string; readonly channelId: string }[] | null;
}

/** The addresses that Meta gave for a person, best one to reply to first. Parent ids only tell people apart. */
export function identitiesOf(party: WebhookParty): Identity[] {
  const { waId, userId, parentUserId } = party;
  return [
    ...(waId === undefined ? [] : [waIdentity(waId)]),
    ...(userId === undefined ? [] : [bsuidIdentity(userId)]),
    ...(parentUserId === undefined
      ? []
      : [{ kind: 'parent_bsuid' as const, value: parentUserId, matchKey: parentUserId }]),
  ];
}

/** A phone number as Meta wrote it. */
export function waIdentity(value: string): Identity {
  return { kind: 'wa_id', value, matchKey: matchKey(value) };
}

/** A business-scoped user id. */
export function bsuidIdentity(value: string): Identity {
  return { kind: 'bsuid', value, matchKey: value };
}

/**
 * Finds the contact of each party, or makes one; the answers stand in the order of `parties`. When its addresses belong to
 * several contacts, the addresses move to the oldest of them: from now on it gets the messages. New spellings of a known
 * number are added as they are. Safe against another process that does the same at the same time.
 *
 * @param channelIds channels whose conversations to look for
 */
export async function resolveContacts(
  sql: Transaction,
  parties: readonly Party[],
  channelIds: readonly string[] = [],
): Promise<ResolvedParty[]> {
  if (parties.length === 0) return [];
  const book = new AddressBook(await findIdentities(sql, parties, channelIds));
  if (parties.every((party) => book.knows(party))) return parties.map((party) => book.resolve(party));

  // Somebody is new here or has a new address: make sure that nobody else adds them meanwhile, and look again.
  sql.write(
    {
      name: 'lock-addresses',
      text: `SELECT pg_advisory_xact_lock(key)
             FROM (SELECT DISTINCT hashtextextended(address, 0) AS key FROM unnest($1::text[]) AS address ORDER BY key) AS keys`,
    },
    [parties.flatMap((party) => party.identities.map((identity) => addressKey(party.workspaceId, identity)))],
  );
  const current = new AddressBook(await findIdentities(sql, parties, channelIds));
  const resolved = parties.map((party) => current.resolve(party));
  current.save(sql);
  return resolved;
}

async function findIdentities(
  sql: Sql,
  parties: readonly Party[],
  channelIds: readonly string[],
): Promise<IdentityRow[]> {
  const wanted = new Map(
    parties.flatMap((party) =>
      party.identities.map((identity) => [addressKey(party.workspaceId, identity), { ...identity, party }] as const),
    ),
  );
  const list = [...wanted.values()];
  // By the match key, which equal values share too; oldest contact first, as ids are UUIDv7.
  return sql.query<IdentityRow>(
    {
      name: 'find-identities',
      text: `SELECT i.id, i.workspace_id, i.contact_id, i.kind, i.value, i.match_key,
                    (SELECT json_agg(json_build_object('id', c.id, 'channelId', c.channel_id)) FROM conversations c
                     WHERE c.channel_id = ANY($4::uuid[]) AND c.contact_id = i.contact_id) AS conversations
             FROM unnest($1::uuid[], $2::text[], $3::text[]) AS w(workspace_id, kind, match_key)
             JOIN contact_identities i USING (workspace_id, kind, match_key)
             ORDER BY i.contact_id, i.id`,
    },
    [
      list.map(({ party }) => party.workspaceId),
      list.map(({ kind }) => kind),
      list.map((identity) => identity.matchKey),
      [...new Set(channelIds)],
    ],
  );
}

const addressKey = (workspaceId: string, { kind, matchKey: key }: Identity): string => `${workspaceId} ${kind} ${key}`;

/** The identities at hand, and what has to be written. */
class AddressBook {
  readonly #rows = new Map<string, IdentityRow[]>();
  readonly #newContacts: { id: string; workspaceId: string; name: string | null; username: string | null }[] = [];
  readonly #newRows = new Map<string, IdentityRow>();
  readonly #moved = new Map<string, string>();
  /** By contact, then channel. */
  readonly #conversations = new Map<string, Map<string, string>>();

  constructor(rows: readonly IdentityRow[]) {
    for (const row of rows) {
      this.#add(row);
      const ids = (row.conversations ?? []).map(({ id, channelId }) => [channelId, id] as const);
      this.#conversations.set(row.contact_id, new Map(ids));
    }
  }

  /** Whether each address of the party stands here as it is, and all belong to one contact. */
  knows(party: Party): boolean {
    const exact = party.identities.map((identity) => this.#exact(party, identity));
    return exact.every((row) => row !== undefined && row.contact_id === exact[0]?.contact_id);
  }

  resolve(party: Party): ResolvedParty {
    const known = party.identities.flatMap((identity) => this.#alike(party, identity));
    const oldest = known.map((row) => row.contact_id).sort()[0];
    const contactId = oldest ?? this.#newContact(party);
    for (const identity of party.identities) {
      const row = this.#exact(party, identity);
      if (!row) {
        const added = {
          id: newId(),
          workspace_id: party.workspaceId,
          contact_id: contactId,
          kind: identity.kind,
          value: identity.value,
          match_key: identity.matchKey,
        };
        this.#newRows.set(added.id, added);
        this.#add(added);
      } else if (row.contact_id !== contactId) {
        row.contact_id = contactId;
        this.#moved.set(row.id, contactId);
      }
    }
    const replyTo = this.#exact(party, party.replyTo);
    if (!replyTo) throw new TypeError('A party must be written to at one of its identities.');
    const conversationIds = this.#conversations.get(contactId) ?? new Map<string, string>();
    return { contactId, replyToIdentityId: replyTo.id, conversationIds };
  }

  save(sql: Transaction): void {
    sql.write(
      `INSERT INTO contacts (id, workspace_id, name, username)
       SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::text[], $4::text[])`,
      [
        this.#newContacts.map(({ id }) => id),
        this.#newContacts.map(({ workspaceId }) => workspaceId),
        this.#newContacts.map(({ name }) => name),
        this.#newContacts.map(({ username }) => username),
      ],
    );
    const added = [...this.#newRows.values()];
    sql.write(
      `INSERT INTO contact_identities (id, workspace_id, contact_id, kind, value, match_key)
       SELECT * FROM unnest($1::uuid[], $2::uuid[], $3::uuid[], $4::text[], $5::text[], $6::text[])`,
      [
        added.map((row) => row.id),
        added.map((row) => row.workspace_id),
        added.map((row) => row.contact_id),
        added.map((row) => row.kind),
        added.map((row) => row.value),
        added.map((row) => row.match_key),
      ],
    );
    const moved = [...this.#moved].filter(([id]) => !this.#newRows.has(id));
    if (moved.length === 0) return;
    sql.write(
      `UPDATE contact_identities AS i SET contact_id = v.contact_id
       FROM unnest($1::uuid[], $2::uuid[]) AS v(id, contact_id) WHERE i.id = v.id`,
      [moved.map(([id]) => id), moved.map(([, contactId]) => contactId)],
    );
  }

  #newContact(party: Party): string {
    const id = newId();
    this.#newContacts.push({
      id,
      workspaceId: party.workspaceId,
      name: party.name ?? null,
      username: party.username ?? null,
    });
    return id;
  }

  #alike(party: Party, identity: Identity): IdentityRow[] {
    return this.#rows.get(addressKey(party.workspaceId, identity)) ?? [];
  }

  #exact(party: Party, identity: Identity): IdentityRow | undefined {
    return this.#alike(party, identity).find((row) => row.value === identity.value);
  }

  #add(row: IdentityRow): void {
    const key = addressKey(row.workspace_id, { kind: row.kind, value: row.value, matchKey: row.match_key });
    const rows = this.#rows.get(key);
    if (rows) rows.push(row);
    else this.#rows.set(key, [row]);
  }
}

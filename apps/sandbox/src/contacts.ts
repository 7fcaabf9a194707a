import { createHash } from 'node:crypto';
import { equivalentDigits } from './dialled-number.ts';
import type { ContactSettings } from './control-schemas.ts';

/** A person with a phone in the sandbox. */
export interface Contact extends ContactSettings {
  readonly id: string;
  /** What the phone page says about them; only the cast has one. */
  readonly note?: string | undefined;
  /** Shown in the phone page's list. Senders that a load test makes up are not. */
  readonly listed: boolean;
}

// Numbers of ranges kept for fiction (US 555-01xx) or of no use; each is a case of its own for whoever answers.
const cast: readonly Contact[] = [
  {
    id: 'customer-a',
    name: 'Customer A',
    waId: '12025550101',
    userId: 'US.80412208655302740001',
    note: 'A phone in the United States',
    listed: true,
  },
  {
    id: 'customer-b',
    name: 'Customer B',
    waId: '5215555550102',
    userId: 'MX.80412208655302740002',
    note: 'Mexico: written 521…, dialled 52…',
    listed: true,
  },
  {
    id: 'customer-c',
    name: 'Customer C',
    waId: '553155550103',
    userId: 'BR.80412208655302740003',
    note: 'Brazil: without the 9 after the area code',
    listed: true,
  },
  {
    id: 'customer-d',
    name: 'Customer D',
    waId: '5491155550104',
    userId: 'AR.80412208655302740004',
    note: 'Argentina: written 549…, dialled 54…',
    listed: true,
  },
  {
    id: 'customer-e',
    name: 'Customer E',
    userId: 'US.80412208655302740005',
    username: 'customer.e',
    note: 'A username and no phone number',
    listed: true,
  },
];

/** Everybody who can write or be written to, found by id, phone or BSUID. */
export class Contacts {
  private readonly byId = new Map<string, Contact>();
  private readonly byWaId = new Map<string, Contact>();
  private readonly byUserId = new Map<string, Contact>();

  constructor() {
    this.reset();
  }

  reset(): void {
    this.byId.clear();
    this.byWaId.clear();
    this.byUserId.clear();
    for (const contact of cast) this.put(contact);
  }

  listed(): Contact[] {
    return [...this.byId.values()].filter((contact) => contact.listed);
  }

  get(id: string): Contact | undefined {
    return this.byId.get(id);
  }

  /** Adds a contact or takes the place of the one with this id. A phone or BSUID moves to who came last. */
  put(contact: Contact): Contact {
    const before = this.byId.get(contact.id);
    if (before?.waId !== undefined && this.byWaId.get(before.waId) === before) this.byWaId.delete(before.waId);
    if (before?.userId !== undefined && this.byUserId.get(before.userId) === before)
      this.byUserId.delete(before.userId);
    this.byId.set(contact.id, contact);
    if (contact.waId !== undefined) this.byWaId.set(contact.waId, contact);
    if (contact.userId !== undefined) this.byUserId.set(contact.userId, contact);
    return contact;
  }

  /** The contact who has this phone, in either of the spellings that Meta takes for it. */
  atPhone(digits: string): Contact | undefined {
    const found = this.byWaId.get(digits);
    if (found) return found;
    const other = equivalentDigits(digits);
    return other === undefined ? undefined : this.byWaId.get(other);
  }

  atUserId(userId: string): Contact | undefined {
    return this.byUserId.get(userId);
  }

  /** Who a message is from; an unknown phone or BSUID becomes a contact that the phone page does not list. */
  sender(who: {
    contactId?: string | undefined;
    waId?: string | undefined;
    userId?: string | undefined;
  }): Contact | undefined {
    if (who.contactId !== undefined) return this.byId.get(who.contactId);
    const found =
      (who.waId === undefined ? undefined : this.byWaId.get(who.waId)) ??
      (who.userId === undefined ? undefined : this.byUserId.get(who.userId));
    if (found) return found;
    const id = who.waId ?? who.userId;
    if (id === undefined) return undefined;
    return this.put({
      id,
      name: `Customer ${id.slice(-4)}`,
      ...(who.waId !== undefined && { waId: who.waId }),
      userId: who.userId ?? madeUpUserId(id),
      listed: false,
    });
  }
}

/** Meta gives every user a BSUID; this one is always the same for the same phone. */
function madeUpUserId(waId: string): string {
  const hash = createHash('sha256').update(waId).digest().readBigUInt64BE();
  return `US.${hash.toString().padStart(20, '1')}`;
}

/** The fields of a contact that are its own, without what the page adds. */
export function contactSettings(contact: Contact): ContactSettings {
  return {
    name: contact.name,
    ...(contact.waId !== undefined && { waId: contact.waId }),
    ...(contact.userId !== undefined && { userId: contact.userId }),
    ...(contact.username !== undefined && { username: contact.username }),
  };
}

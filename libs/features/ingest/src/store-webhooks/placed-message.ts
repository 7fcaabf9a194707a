import { type PlannedMessage } from './plan-items.ts';
import { type ResolvedParty } from './resolve-contacts.ts';

/** A planned message and the conversation it goes to. */
export interface PlacedMessage {
  readonly message: PlannedMessage;
  readonly party: ResolvedParty;
  readonly conversationId: string;
}

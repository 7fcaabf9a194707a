// What stands in a webhook body, found without the product's parser: the product is held against this.

/** A JSON object. */
export type Json = Readonly<Record<string, unknown>>;

/** A message or echo as it stands in the body. */
export interface FoundMessage {
  readonly phoneNumberId: unknown;
  readonly id: unknown;
  /** As it has to be stored: `unknown` when there is none. */
  readonly type: string;
  readonly raw: Json;
}

export interface FoundInBody {
  readonly messages: FoundMessage[];
  readonly echoes: FoundMessage[];
  statuses: number;
  /** Changes that hold none of these: account news, calls, new fields. */
  others: number;
}

/** Counts entry[].changes[].value.{messages,message_echoes,statuses}[]. Takes anything; what has no such shape is empty. */
export function walkBody(body: unknown): FoundInBody {
  const found: FoundInBody = { messages: [], echoes: [], statuses: 0, others: 0 };
  for (const entry of listOf(body, 'entry')) {
    for (const change of listOf(entry, 'changes')) {
      const value = at(change, 'value');
      const phoneNumberId = at(at(value, 'metadata'), 'phone_number_id');
      const read = (list: string) =>
        listOf(value, list)
          .filter(isObject)
          .map((raw) => ({ phoneNumberId, id: raw['id'], type: textOr(raw['type'], 'unknown'), raw }));
      const messages = read('messages');
      const echoes = read('message_echoes');
      // Calls have statuses too, of another kind.
      const statuses = at(change, 'field') === 'messages' ? listOf(value, 'statuses').length : 0;
      found.messages.push(...messages);
      found.echoes.push(...echoes);
      found.statuses += statuses;
      if (messages.length + echoes.length + statuses === 0) found.others += 1;
    }
  }
  return found;
}

export function isObject(value: unknown): value is Json {
  return typeof value === 'object' && value !== null && !Array.isArray(value);
}

export function at(value: unknown, field: string): unknown {
  return isObject(value) ? value[field] : undefined;
}

export function listOf(value: unknown, field: string): readonly unknown[] {
  const list = at(value, field);
  return Array.isArray(list) ? list : [];
}

const textOr = (value: unknown, otherwise: string): string => (typeof value === 'string' ? value : otherwise);

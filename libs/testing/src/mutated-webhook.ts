import fc from 'fast-check';

type Json = unknown;
type Node = Record<string, Json> | Json[];

/** One thing that is done to a body. The numbers choose among what is there, so that the same ones do the same to it. */
export interface Mutation {
  readonly how: (typeof HOWS)[number];
  readonly where: number;
  readonly odd: Json;
}

/** Where the valid message goes: an entry or change of its own, or the list of another message. */
export interface Place {
  readonly among: 'entries' | 'changes' | 'messages';
  readonly at: number;
}

/** The message that has to come out whole, with the number it was sent to. */
export interface ValidMessage {
  readonly phoneNumberId: string;
  readonly message: Readonly<Record<string, Json>>;
}

const HOWS = [
  'replace',
  'delete',
  'add_unknown',
  'add_prototype_key',
  'retype',
  'repeat',
  'repeat_key',
  'wrap',
  'swap',
] as const;

// JSON.stringify cannot write these, so a sign of their own stands for them until the text is made.
const DEEP = /(?<!\\)"<deep (\d+)>"/g;
const SAME_KEY = '<same key>';
const BROKEN_UTF8 = '<broken utf-8>';

/** Of characters that do not repeat: Postgres cannot press it into an index row. */
const INCOMPRESSIBLE = Array.from({ length: 9_000 }, (_, index) => ((index * 7919) % 46_655).toString(36)).join('');

const oddString = fc.oneof(
  fc.constantFrom('', ' ', '\u0000', 'a\u0000b', '\ud800', 'x\udfff\ud800y', '\u202eabc', '👩‍👩‍👧‍👦', 'ﷺ'.repeat(9), "';--"),
  fc.constantFrom('__proto__', 'constructor', 'toString', 'null', 'NaN', '-1', '1e999', '0x10', '1790000000', '٣'),
  fc.constantFrom('messages', 'statuses', 'text', 'image', 'edit', 'revoke', 'system', 'interactive', 'contacts'),
  fc.string({ unit: 'binary', maxLength: 12 }),
  fc.constant(BROKEN_UTF8),
);
const hugeString = fc.oneof(
  fc.nat(50_000).map((length) => 'é'.repeat(length)),
  fc.nat(9_000).map((start) => INCOMPRESSIBLE.slice(start)),
);
const oddNumber = fc.constantFrom(0, -0, -1, 0.5, 1e21, 1e308, -1e308, 2 ** 31, 2 ** 53, 253_402_300_800, 1e-320);
const oddValue: fc.Arbitrary<Json> = fc.oneof(
  { weight: 30, arbitrary: oddString },
  { weight: 15, arbitrary: oddNumber },
  { weight: 30, arbitrary: fc.constantFrom<Json>(null, true, false, [], {}, [[]], [null], { '': {} }, { length: 3 }) },
  { weight: 4, arbitrary: fc.constantFrom(40, 700, 9_000, 60_000).map((depth) => `<deep ${String(depth)}>`) },
  { weight: 5, arbitrary: hugeString },
);

/** What is done to one body: 1 to 6 mutations one after the other. */
export const mutations: fc.Arbitrary<Mutation[]> = fc.array(
  fc.record({ how: fc.constantFrom(...HOWS), where: fc.nat(), odd: oddValue }),
  { minLength: 1, maxLength: 6, size: 'max' },
);

/** Where the valid message goes. */
export const place: fc.Arbitrary<Place> = fc.record({
  among: fc.constantFrom('entries', 'changes', 'messages'),
  at: fc.nat(),
});

/**
 * A webhook body as somebody might send it who knows the shape of Meta's and breaks it on purpose: wrong types, missing and
 * unknown parts, null, huge strings, deep nesting, prototype keys, repeated keys and elements, odd characters, bytes that are
 * no UTF-8. It is always JSON, and the valid message stands in it in a place where a reader of Meta's shape has to find it.
 *
 * @param body a valid one; it is left as it is
 * @returns the bytes to send
 */
export function mutatedWebhook(body: Json, changes: readonly Mutation[], at: Place, valid: ValidMessage): Buffer {
  const mutated = structuredClone({ body });
  for (const mutation of changes) mutate(mutated, mutation);
  const text = JSON.stringify(withMessage(mutated.body, at, valid))
    .replace(DEEP, (_sign, depth) => '['.repeat(Number(depth)) + ']'.repeat(Number(depth)))
    .replaceAll(SAME_KEY, '');
  const parts = text.split(BROKEN_UTF8).map((part) => Buffer.from(part));
  return Buffer.concat(parts.flatMap((part, index) => (index === 0 ? [part] : [Buffer.from([0xff, 0xc3]), part])));
}

/** Every value of a tree, with what holds it. */
function placesOf(root: Node): [Node, string][] {
  const places: [Node, string][] = [];
  const pending: Node[] = [root];
  for (let node = pending.pop(); node !== undefined; node = pending.pop()) {
    for (const [key, child] of Object.entries(node)) {
      places.push([node, key]);
      if (typeof child === 'object' && child !== null) pending.push(child as Node);
    }
  }
  return places;
}

const get = (node: Node, key: string): Json => (node as Record<string, Json>)[key];

/** As an own property, `__proto__` too. */
function put(node: Node, key: string, value: Json): void {
  Object.defineProperty(node, key, { value, enumerable: true, configurable: true, writable: true });
}

function mutate(root: Node, { how, where, odd }: Mutation): void {
  const places = placesOf(root);
  const chosen = places[where % places.length];
  if (!chosen) return;
  const [node, key] = chosen;
  const value = get(node, key);
  // One value may stand in two places, but not inside itself.
  const fresh = structuredClone(odd);
  switch (how) {
    case 'replace':
      return put(node, key, fresh);
    case 'delete':
      return void (Array.isArray(node) ? node.splice(Number(key), 1) : Reflect.deleteProperty(node, key));
    case 'add_unknown':
      return Array.isArray(node) ? void node.push(fresh) : put(node, `brand_new_${String(where % 3)}`, fresh);
    case 'add_prototype_key':
      if (Array.isArray(node)) return void node.push({ __proto__: null, constructor: fresh });
      return put(node, ['__proto__', 'constructor', 'hasOwnProperty', 'toJSON_'][where % 4] ?? '', fresh);
    case 'retype':
      if (typeof value === 'string') return put(node, key, Number.isFinite(Number(value)) ? Number(value) : [value]);
      return put(node, key, JSON.stringify(value).slice(0, 200));
    case 'repeat':
      if (Array.isArray(value)) return void value.push(...(structuredClone(value.slice(0, 5)) as Json[]));
      return Array.isArray(node)
        ? void node.push(structuredClone(value))
        : put(node, `${key}s`, structuredClone(value));
    case 'repeat_key':
      return Array.isArray(node) ? void node.push(fresh) : repeatKey(node, key, fresh);
    case 'wrap':
      return put(node, key, where % 2 === 0 ? [value] : { value });
    case 'swap': {
      const [other, otherKey] = places[(where * 31 + 7) % places.length] ?? chosen;
      const copies = [structuredClone(get(other, otherKey)), structuredClone(value)];
      put(node, key, copies[0]);
      put(other, otherKey, copies[1]);
    }
  }
}

/** The key twice, the odd value first: in JSON the last one counts. */
function repeatKey(node: Record<string, Json>, key: string, odd: Json): void {
  const fields = Object.entries(node);
  for (const [each] of fields) Reflect.deleteProperty(node, each);
  for (const [each, value] of fields) {
    if (each === key) put(node, `${SAME_KEY}${each}`, odd);
    put(node, each, value);
  }
}

/** Puts the valid message in. Where the body has no such place (any more) it gets a change or an entry of its own. */
function withMessage(mutated: Json, { among, at }: Place, { phoneNumberId, message }: ValidMessage): Json {
  const metadata = { display_phone_number: '15550100001', phone_number_id: phoneNumberId };
  const change = { field: 'messages', value: { messaging_product: 'whatsapp', metadata, messages: [message] } };
  const entry = { id: '1', changes: [change] };
  const body = asRecord(mutated);
  if (!body || !Array.isArray(body['entry'])) return { entry: insert([mutated], at, entry) };
  const entries = body['entry'] as Json[];

  const changeLists = entries
    .map((one) => asRecord(one)?.['changes'])
    .filter((list) => Array.isArray(list)) as Json[][];
  const inValues = changeLists.flat().flatMap((one) => {
    const holder = asRecord(one);
    const value = asRecord(holder?.['value']);
    return holder && value && Array.isArray(value['messages']) ? [{ holder, value, list: value['messages'] }] : [];
  });
  const value = inValues[at % (inValues.length || 1)];
  const changes = changeLists[at % (changeLists.length || 1)];
  if (among === 'messages' && value) {
    insert(value.list as Json[], at, message);
    value.value['metadata'] = metadata;
    value.holder['field'] = 'messages';
  } else if (among !== 'entries' && changes) insert(changes, at, change);
  else insert(entries, at, entry);
  return body;
}

const asRecord = (value: Json): Record<string, Json> | undefined =>
  typeof value === 'object' && value !== null && !Array.isArray(value) ? (value as Record<string, Json>) : undefined;

function insert(list: Json[], at: number, element: Json): Json[] {
  list.splice(at % (list.length + 1), 0, element);
  return list;
}

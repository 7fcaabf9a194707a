import {
  deadLetterSchema,
  deadLetterSubject,
  doorbells,
  doorbellSubject,
  eventDataSchemas,
  eventEnvelopeSchema,
  eventId,
  eventSubject,
  liveSubject,
  messagingTopology,
  parseEvent,
  webhookSubject,
  type Doorbell,
  type EventType,
} from '@answerline/contracts';
import { z } from 'zod';

/** The part of a JSON schema that our contracts use. */
interface FieldSchema {
  readonly type?: string;
  readonly format?: string;
  readonly enum?: readonly string[];
  readonly description?: string;
  readonly examples?: readonly unknown[];
  readonly anyOf?: readonly FieldSchema[];
  readonly properties?: Readonly<Record<string, FieldSchema>>;
}

const ids = {
  workspaceId: '019ab2f0-0000-7000-8000-000000000001',
  channelId: '019ab2f0-0000-7000-8000-000000000002',
  conversationId: '019ab2f0-0000-7000-8000-000000000003',
};
const otherId = '019ab2f0-0000-7000-8000-000000000004';
const aTime = '2026-11-22T09:30:00.000Z';

const second = 1_000;
const units = [
  ['day', 24 * 3600 * second],
  ['hour', 3600 * second],
  ['minute', 60 * second],
  ['second', second],
] as const;
const sizes = [
  ['GiB', 1024 ** 3],
  ['MiB', 1024 ** 2],
  ['KiB', 1024],
] as const;

/** The text of `docs/events.md`: what goes over NATS, as the schemas and lists of contracts say it. */
export function renderEventsDocument(): string {
  const { streams, consumers } = messagingTopology({ profile: 'production' });
  const standalone = messagingTopology({ profile: 'standalone' }).streams;
  const smaller = (name: string) => standalone.find((stream) => stream.name === name)?.maxBytes;
  return [
    '# What goes over NATS',
    'Made by `npm run generate` from [libs/contracts](../libs/contracts/src); do not edit it here. Events and dead letters carry ids and codes, never text, names or numbers. Whoever needs more reads it from Postgres.',
    '## Envelope',
    'Every event has these fields. Consumers take unknown fields and unknown types in their stride, and may get an event twice: `id` is the same then.',
    fieldTable(eventEnvelopeSchema),
    `Subject: ${code(patternOf(eventSubject('message_received', ids.workspaceId, ids.channelId, ids.conversationId)).replace('message_received', '<type>'))}`,
    '## Events',
    ...eventTypes().map(eventSection),
    '## Streams',
    'File storage, compression s2, retention by limits. One copy of each, or three on a cluster.',
    table(
      ['stream', 'subjects', 'when full', 'max age', 'max bytes', 'max message', 'duplicate window', 'message id'],
      streams.map((stream) => [
        `\`${stream.name}\``,
        stream.subjects.map(code).join(', '),
        stream.discard === 'new' ? 'refuses what is new' : 'drops the oldest',
        duration(stream.maxAgeMs),
        `${size(stream.maxBytes)}${smaller(stream.name) === stream.maxBytes ? '' : ` (standalone ${size(smaller(stream.name) ?? 0)})`}`,
        size(stream.maxMessageBytes),
        duration(stream.duplicateWindowMs),
        stream.messageId,
      ]),
    ),
    ...streams.map((stream) => `- \`${stream.name}\`: ${stream.description}`),
    `Webhooks have the subject ${code(patternOf(webhookSubject(ids.workspaceId, otherId)).replace('<id>', '<key id>'))}, dead letters ${code(patternOf(deadLetterSubject('stream', 'consumer', ids.workspaceId)).replace('stream.consumer', '<stream>.<consumer>'))}.`,
    '## Consumers',
    'Durable, pull, explicit acknowledgement. A handler that still works says so each third of the acknowledgement time.',
    table(
      ['consumer', 'stream', 'filter', 'acknowledge within', 'deliveries at most', 'unacknowledged at most', 'does'],
      consumers.map((consumer) => [
        `\`${consumer.name}\``,
        `\`${consumer.stream}\``,
        code(consumer.filterSubject),
        duration(consumer.ackWaitMs),
        consumer.maxDeliver === -1 ? 'until acknowledged' : String(consumer.maxDeliver),
        String(consumer.maxAckPending),
        consumer.description,
      ]),
    ),
    '## Dead letters',
    'What a consumer gave up. The message itself stays in its stream, and `npm run operator -- dead-letters replay` puts it back.',
    fieldTable(deadLetterSchema),
    '## Doorbells',
    'Core NATS, not stored. A doorbell makes work prompt; a sweep each second finds what a lost one would have announced.',
    table(
      ['subject', 'announces'],
      (Object.entries(doorbells) as [Doorbell, string][]).map(([bell, says]) => [code(doorbellSubject(bell)), says]),
    ),
    `${code(patternOf(liveSubject(ids.workspaceId, ids.conversationId)))} will carry the tokens of an answer in the making to the web chat (a later part).`,
    '',
  ].reduce(
    (text, block, index, all) =>
      `${text}${index > 0 && isListItem(block) && isListItem(all[index - 1]) ? '\n' : '\n\n'}${block}`,
  );
}

const isListItem = (block: string | undefined) => block?.startsWith('- ') ?? false;

const eventTypes = () => Object.keys(eventDataSchemas) as EventType[];

function eventSection(type: EventType): string {
  const schema = eventDataSchemas[type];
  return [
    `### ${type}`,
    schema.description ?? '',
    fieldTable(schema),
    ['```json', JSON.stringify(exampleEvent(type), null, 2), '```'].join('\n'),
  ].join('\n\n');
}

/** An event that the schema takes. */
export function exampleEvent(type: EventType): unknown {
  const data = Object.entries(fieldsOf(eventDataSchemas[type])).map(([name, field]) => [name, exampleOf(name, field)]);
  return parseEvent({
    id: eventId(type, otherId),
    type,
    occurredAt: aTime,
    workspaceId: ids.workspaceId,
    correlationId: otherId,
    data: Object.fromEntries(data) as unknown,
  });
}

function exampleOf(name: string, field: FieldSchema): unknown {
  const schema = field.anyOf?.find(({ type }) => type !== 'null') ?? field;
  const example = field.examples?.[0] ?? schema.examples?.[0] ?? schema.enum?.[0];
  if (example !== undefined) return example;
  if (schema.format === 'uuid') return Object.hasOwn(ids, name) ? ids[name as keyof typeof ids] : otherId;
  if (schema.format === 'date-time') return aTime;
  if (schema.type === 'integer') return 1;
  throw new Error(`The field ${name} of an event needs an example in its schema.`);
}

function fieldTable(schema: z.ZodObject): string {
  const rows = Object.entries(fieldsOf(schema)).map(([name, field]) => [
    `\`${name}\``,
    typeOf(field),
    field.description ?? '',
  ]);
  return table(['field', 'type', 'meaning'], rows);
}

function fieldsOf(schema: z.ZodObject): Readonly<Record<string, FieldSchema>> {
  return (z.toJSONSchema(schema) as FieldSchema).properties ?? {};
}

function typeOf(field: FieldSchema): string {
  if (field.anyOf) return field.anyOf.map(typeOf).join(' or ');
  if (field.enum) return field.enum.map((value) => `\`${value}\``).join(' or ');
  if (field.format === 'uuid') return 'id';
  if (field.format === 'date-time') return 'time';
  return field.type ?? 'any';
}

/** The subject as a pattern: its ids by their names. */
function patternOf(subject: string): string {
  return subject
    .replace(ids.workspaceId, '<workspace>')
    .replace(ids.channelId, '<channel>')
    .replace(ids.conversationId, '<conversation>')
    .replace(otherId, '<id>');
}

function table(head: readonly string[], rows: readonly (readonly string[])[]): string {
  const line = (cells: readonly string[]) => `| ${cells.map((cell) => cell.replaceAll('|', '\\|')).join(' | ')} |`;
  return [line(head), line(head.map(() => '---')), ...rows.map(line)].join('\n');
}

const code = (text: string) => `\`${text}\``;

function duration(ms: number): string {
  for (const [unit, unitMs] of units) {
    const count = ms / unitMs;
    if (Number.isInteger(count) && count > 0) return `${count} ${unit}${count === 1 ? '' : 's'}`;
  }
  return `${ms} ms`;
}

function size(bytes: number): string {
  for (const [unit, unitBytes] of sizes) {
    if (bytes >= unitBytes && bytes % unitBytes === 0) return `${bytes / unitBytes} ${unit}`;
  }
  return `${bytes} bytes`;
}

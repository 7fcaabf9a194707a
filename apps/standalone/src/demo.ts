import { randomBytes, randomInt } from 'node:crypto';
import { existsSync, readFileSync } from 'node:fs';
import { setTimeout as delay } from 'node:timers/promises';
import { fileURLToPath } from 'node:url';
import { chatbotSchema, connectedChannelSchema, createdWorkspaceSchema, sourceSchema } from '@answerline/contracts';
import { Unexpected } from '@answerline/errors';
import { fetchOperator } from '@answerline/outbound-http';
import { WEBHOOK_FIELDS } from '@answerline/whatsapp';
import { z } from 'zod';
import { writePrivateFile } from './write-private-file.ts';

/** What DATA_DIR/demo.json holds: all that somebody needs to try the demo by API. */
const demoSchema = z.object({
  baseUrl: z.string(),
  sandboxUrl: z.string(),
  apiKey: z.string(),
  operatorKey: z.string(),
  workspaceId: z.string(),
  chatbotId: z.string(),
  channelId: z.string(),
  webhookPath: z.string(),
  verifyToken: z.string(),
  appId: z.string(),
  wabaId: z.string(),
  accessToken: z.string(),
  appSecret: z.string(),
  phoneNumberId: z.string(),
});
export type Demo = z.infer<typeof demoSchema>;

const bakerySchema = z.object({
  name: z.string(),
  instructions: z.string(),
  language: z.string(),
  sources: z.array(z.object({ title: z.string(), type: z.string(), text: z.string() })),
  chips: z.array(z.object({ label: z.string(), text: z.string() })),
});

const sourcesSchema = z.object({ items: z.array(sourceSchema) });

/** Whom the sandbox's mailbox shows as the owner. RFC 2606: nobody can have such an address. */
const OWNER_EMAIL = 'owner@wren-lane-bakery.example';
const DISPLAY_PHONE_NUMBER = '+1 555-010-0199';
const CALL_TIMEOUT_MS = 10_000;
const MAX_ANSWER_BYTES = 1024 * 1024;
/** A handful of short texts is indexed in well under a second; a model embeds them in a few. */
const INDEXED_WITHIN_MS = 15_000;

/** Where the demo is made and kept. */
export interface DemoPlace {
  /** Where the API is reached here. */
  readonly baseUrl: string;
  /** Where Meta is told to deliver. */
  readonly publicUrl: string;
  readonly sandboxUrl: string;
  readonly operatorKey: string;
  /** Path of demo.json. */
  readonly file: string;
}

/**
 * Makes the demo once, through the public API as any customer would: a bakery with its knowledge base on a number of the
 * sandbox. At later starts it only tells the sandbox about the number again.
 *
 * @returns why its knowledge base cannot be searched yet, as a code, or null; it is tried again by itself
 */
export async function ensureDemo(place: DemoPlace): Promise<string | null> {
  const bakery = readBakery();
  const kept = readDemo(place.file);
  const demo = kept
    ? { ...kept, baseUrl: place.baseUrl, sandboxUrl: place.sandboxUrl, operatorKey: place.operatorKey }
    : await makeDemo(place, bakery);
  writePrivateFile(place.file, `${JSON.stringify(demo, null, 2)}\n`);
  if (kept) await setUpAtSandbox(demo, place.publicUrl, bakery.name);
  await call(place.sandboxUrl, 'PUT', '/sandbox/chips', { phoneNumberId: demo.phoneNumberId, chips: bakery.chips });
  return kept ? null : untilIndexed(demo);
}

/** A number that the sandbox, as Meta, is to know. */
type NumberAtMeta = Pick<Demo, 'phoneNumberId' | 'wabaId' | 'appId' | 'accessToken' | 'appSecret'>;

function putNumber(
  sandboxUrl: string,
  { phoneNumberId, ...rest }: NumberAtMeta,
  verifiedName: string,
): Promise<unknown> {
  const { wabaId, appId, accessToken, appSecret } = rest;
  const account = { wabaId, appId, accessToken, appSecret };
  return call(sandboxUrl, 'PUT', `/sandbox/numbers/${phoneNumberId}`, {
    ...account,
    displayPhoneNumber: DISPLAY_PHONE_NUMBER,
    verifiedName,
  });
}

/** What connecting set up at Meta, which the sandbox forgets when it stops and Meta would not. */
async function setUpAtSandbox(demo: Demo, publicUrl: string, name: string): Promise<void> {
  const { sandboxUrl, webhookPath, verifyToken } = demo;
  await putNumber(sandboxUrl, demo, name);
  await call(sandboxUrl, 'PUT', `/sandbox/wabas/${demo.wabaId}`, { subscribedAppIds: [demo.appId] });
  await call(sandboxUrl, 'PUT', `/sandbox/apps/${demo.appId}`, {
    subscription: { callbackUrl: `${publicUrl}${webhookPath}`, verifyToken, fields: [...WEBHOOK_FIELDS] },
  });
}

/** What somebody is told whose demo {@link ensureDemo} could not make searchable. */
export const waitingLine = (code: string): string =>
  `The demo has no answers yet (${code}): what OPENAI_BASE_URL, EMBEDDING_BASE_URL or ELASTICSEARCH_URL lead to does not ` +
  'answer. It is tried again by itself.';

async function makeDemo(place: DemoPlace, bakery: z.infer<typeof bakerySchema>): Promise<Demo> {
  const { baseUrl, operatorKey } = place;
  const { workspace, apiKey } = createdWorkspaceSchema.parse(
    await call(
      baseUrl,
      'POST',
      '/api/v1/workspaces',
      { name: bakery.name, plan: 'scale', ownerEmail: OWNER_EMAIL },
      operatorKey,
    ),
  );
  const chatbot = chatbotSchema.parse(
    await call(
      baseUrl,
      'POST',
      '/api/v1/chatbots',
      { name: bakery.name, instructions: bakery.instructions, language: bakery.language },
      apiKey,
    ),
  );
  for (const source of bakery.sources) {
    await call(baseUrl, 'POST', `/api/v1/chatbots/${chatbot.id}/sources`, source, apiKey);
  }
  const meta = {
    appId: digits(),
    wabaId: digits(),
    phoneNumberId: digits(),
    accessToken: `EAA${randomBytes(24).toString('hex')}`,
    appSecret: randomBytes(16).toString('hex'),
  };
  await putNumber(place.sandboxUrl, meta, bakery.name);
  const channel = connectedChannelSchema.parse(
    await call(baseUrl, 'PUT', `/api/v1/chatbots/${chatbot.id}/channels/whatsapp`, meta, apiKey),
  );
  return {
    baseUrl,
    sandboxUrl: place.sandboxUrl,
    apiKey,
    operatorKey,
    workspaceId: workspace.id,
    chatbotId: chatbot.id,
    channelId: channel.id,
    webhookPath: new URL(channel.callbackUrl).pathname,
    verifyToken: channel.verifyToken,
    ...meta,
  };
}

/** Waits until all sources are ready. The index or the model may be away: then the code of the first that is not. */
async function untilIndexed({ baseUrl, chatbotId, apiKey }: Demo): Promise<string | null> {
  const deadline = performance.now() + INDEXED_WITHIN_MS;
  const path = `/api/v1/chatbots/${chatbotId}/sources`;
  for (;;) {
    const { items } = sourcesSchema.parse(await call(baseUrl, 'GET', path, undefined, apiKey));
    const open = items.find(({ state }) => state !== 'ready');
    if (open === undefined) return null;
    if (open.state === 'failed' || performance.now() > deadline) return open.errorCode ?? 'demo_not_indexed';
    await delay(50);
  }
}

async function call(
  baseUrl: string,
  method: 'GET' | 'POST' | 'PUT',
  path: string,
  body?: object,
  key?: string,
): Promise<unknown> {
  const response = await fetchOperator(`${baseUrl}${path}`, {
    method,
    headers: {
      ...(body === undefined ? {} : { 'content-type': 'application/json' }),
      ...(key === undefined ? {} : { authorization: `Bearer ${key}` }),
    },
    ...(body === undefined ? {} : { body: JSON.stringify(body) }),
    timeoutMs: CALL_TIMEOUT_MS,
    maxBytes: MAX_ANSWER_BYTES,
  });
  const text = response.body.toString('utf8');
  if (response.status >= 400) {
    const code = z.object({ code: z.string() }).safeParse(text === '' ? {} : JSON.parse(text)).data?.code;
    const context = { method, route: path.split('/').slice(0, 4).join('/'), status: response.status, code };
    throw new Unexpected(
      'demo_call_refused',
      `Making the demo failed: ${method} answered ${String(response.status)}.`,
      {
        context,
      },
    );
  }
  return text === '' ? undefined : JSON.parse(text);
}

function readDemo(file: string): Demo | undefined {
  return existsSync(file) ? demoSchema.safeParse(JSON.parse(readFileSync(file, 'utf8'))).data : undefined;
}

function readBakery(): z.infer<typeof bakerySchema> {
  return bakerySchema.parse(
    JSON.parse(readFileSync(fileURLToPath(new URL('../demo/bakery.json', import.meta.url)), 'utf8')),
  );
}

const digits = (): string => String(randomInt(10 ** 14, 2 ** 47));

import type { FastifyInstance } from 'fastify';
import type { AccessToken, Waba } from './accounts.ts';
import type { BusinessNumber } from './control-schemas.ts';
import { identify, identifyWith, noSuchObject, reachableNumber, reachableWaba } from './graph-access.ts';
import { badParameter, GraphRefused, managementRoute, type GraphCall, type GraphRoute } from './graph-call.ts';
import { refusal } from './graph-error.ts';
import { mediaNode } from './graph-media.ts';
import type { Meta } from './meta.ts';
import { givenCallback, verifyCallback } from './verify-callback.ts';

type Json = Readonly<Record<string, unknown>>;

const defaultPageSize = 25;
const maxPageSize = 1000;
const defaultWabaFields = ['id', 'name', 'currency', 'timezone_id', 'message_template_namespace'];
const defaultNumberFields = [
  'verified_name',
  'code_verification_status',
  'display_phone_number',
  'quality_rating',
  'platform_type',
  'throughput',
  'webhook_configuration',
  'id',
];

/** WABAs, business numbers and media by their id, and the numbers of a WABA. */
export function accountNodeRoutes(app: FastifyInstance, meta: Meta): void {
  app.get<GraphRoute>(
    '/:id',
    managementRoute(meta, (call) => node(meta, call)),
  );
  app.post<GraphRoute>(
    '/:id',
    managementRoute(meta, (call) => setNumberCallback(meta, call)),
  );
  app.get<GraphRoute>(
    '/:id/phone_numbers',
    managementRoute(meta, (call) => phoneNumbers(meta, call)),
  );
}

function node(meta: Meta, call: GraphCall): unknown {
  const { accounts } = meta;
  if (accounts.numbers.has(call.id)) {
    const token = identifyWith(meta, call, 'whatsapp_business_management');
    const number = reachableNumber(meta, call, token, call.id);
    return pick(
      numberFields(meta, number, token),
      fieldsOf(call) ?? defaultNumberFields,
      'WhatsAppBusinessPhoneNumber',
    );
  }
  if (accounts.waba(call.id)) {
    const token = identifyWith(meta, call, 'whatsapp_business_management');
    const waba = reachableWaba(meta, call, token, call.id);
    return pick(wabaFields(waba), fieldsOf(call) ?? defaultWabaFields, 'WhatsAppBusinessAccount');
  }
  if (meta.media.get(call.id, meta.now())) return mediaNode(meta, call);
  identify(meta, call);
  throw new GraphRefused(noSuchObject(call.method, call.id));
}

/** `POST /{phone-number-id}`: sets or, with an empty URL, takes away the number's own callback (Meta, "Webhook overrides"). */
async function setNumberCallback(meta: Meta, call: GraphCall): Promise<unknown> {
  const token = identifyWith(meta, call, 'whatsapp_business_management');
  const number = reachableNumber(meta, call, token, call.id);
  const callback = givenCallback(jsonObject(call.parameters['webhook_configuration']));
  if (callback === undefined) throw new GraphRefused(badParameter('The parameter webhook_configuration is required.'));
  if (callback) await verifyCallback(meta, callback);
  meta.accounts.setOverride(number.phoneNumberId, callback);
  return { success: true };
}

function phoneNumbers(meta: Meta, call: GraphCall): unknown {
  const token = identifyWith(meta, call, 'whatsapp_business_management');
  const { wabaId } = reachableWaba(meta, call, token, call.id);
  const numbers = meta.accounts.numbersOf(wabaId);
  const { after } = call.parameters;
  const before = after === undefined ? -1 : numbers.findIndex((number) => cursorOf(number) === after);
  if (after !== undefined && before < 0) throw new GraphRefused(badParameter('Param after is not a valid cursor.'));
  const page = numbers.slice(before + 1, before + 1 + pageSize(call));
  const [first, last] = [page[0], page.at(-1)];
  const names = fieldsOf(call) ?? defaultNumberFields;
  return {
    data: page.map((number) => pick(numberFields(meta, number, token), names, 'WhatsAppBusinessPhoneNumber')),
    ...(first &&
      last && {
        paging: {
          cursors: { before: cursorOf(first), after: cursorOf(last) },
          ...(last !== numbers.at(-1) && { next: nextPage(call, cursorOf(last)) }),
        },
      }),
  };
}

function numberFields(meta: Meta, number: BusinessNumber, token: AccessToken): Json {
  const { accounts } = meta;
  const numberCallback = accounts.override(number.phoneNumberId);
  const wabaCallback = accounts.waba(number.wabaId)?.subscribedApps.get(token.appId);
  const appCallback = accounts.subscription(token.appId);
  return {
    verified_name: number.verifiedName,
    code_verification_status: number.codeVerificationStatus,
    display_phone_number: number.displayPhoneNumber,
    quality_rating: number.qualityRating,
    platform_type: number.platformType,
    throughput: { level: number.throughput },
    webhook_configuration: {
      ...(numberCallback && { phone_number: numberCallback.callbackUrl }),
      ...(wabaCallback && { whatsapp_business_account: wabaCallback.callbackUrl }),
      ...(appCallback && { application: appCallback.callbackUrl }),
    },
    id: number.phoneNumberId,
    name_status: 'APPROVED',
    status: number.status,
    account_mode: number.isTestNumber ? 'SANDBOX' : 'LIVE',
    is_on_biz_app: number.isOnBizApp,
    is_official_business_account: false,
    messaging_limit_tier: 'TIER_1K',
    whatsapp_business_manager_messaging_limit: 'TIER_1K',
  };
}

function wabaFields({ wabaId, settings }: Waba): Json {
  return {
    id: wabaId,
    name: settings.name ?? `Account ${wabaId}`,
    currency: settings.currency ?? 'USD',
    timezone_id: settings.timezoneId ?? '1',
    message_template_namespace: 'ba30dd89_2ebd_41e4_b805_f2c05ae04cc9',
    account_review_status: settings.accountReviewStatus ?? 'APPROVED',
    business_verification_status: settings.businessVerificationStatus ?? 'verified',
    country: settings.country ?? 'US',
    ownership_type: 'SELF',
  };
}

/** The fields that were asked for, and the id. @throws GraphRefused 100 for one that there is not */
function pick(all: Json, names: readonly string[], type: string): Json {
  const unknown = names.find((name) => !Object.hasOwn(all, name));
  if (unknown !== undefined) {
    const message = `(#100) Tried accessing nonexisting field (${unknown}) on node type (${type})`;
    throw new GraphRefused(refusal(100, { message }));
  }
  return Object.fromEntries([...new Set([...names, 'id'])].map((name) => [name, all[name]]));
}

function fieldsOf({ parameters: { fields } }: GraphCall): string[] | undefined {
  if (typeof fields !== 'string' || fields.trim() === '') return undefined;
  return fields.split(',').map((name) => name.trim());
}

function pageSize({ parameters: { limit } }: GraphCall): number {
  if (limit === undefined) return defaultPageSize;
  const size = Number(limit);
  if (!Number.isInteger(size) || size < 1)
    throw new GraphRefused(badParameter('Param limit must be a positive integer.'));
  return Math.min(size, maxPageSize);
}

function cursorOf({ phoneNumberId }: BusinessNumber): string {
  return Buffer.from(phoneNumberId).toString('base64');
}

/** Meta puts the caller's token into this address; the sandbox leaves it out. */
function nextPage({ origin, path, parameters }: GraphCall, after: string): string {
  const { access_token: _, appsecret_proof: __, ...kept } = parameters;
  const query = new URLSearchParams();
  for (const [name, value] of Object.entries({ ...kept, after })) query.set(name, String(value));
  return `${origin}${path}?${query.toString()}`;
}

/** A form carries an object as JSON. */
function jsonObject(value: unknown): unknown {
  if (typeof value !== 'string') return value;
  try {
    return JSON.parse(value) as unknown;
  } catch {
    return undefined;
  }
}

import { createHmac } from 'node:crypto';
import { type HttpMethod } from '@answerline/outbound-http';
import { callGraph, type CallFailure, type GraphAnswer } from './graph-call.ts';
import { asArray, asNumber, asObject, asString, asTime, type JsonObject } from './json-reading.ts';

/** What calls on behalf of a business are made with. */
export interface GraphCredentials {
  readonly accessToken: string;
  /** When it is known every call carries `appsecret_proof`, and Meta refuses a secret that is not of the token's app. */
  readonly appSecret?: string | undefined;
}

/** What calls about a Meta app are made with: the app token is made of both. */
export interface GraphApp {
  readonly appId: string;
  readonly appSecret: string;
}

/** Where Meta is to deliver, and what its verification GET brings along. */
export interface WebhookTarget {
  readonly callbackUrl: string;
  readonly verifyToken: string;
}

/** `debug_token`, as far as a connection depends on it. */
export interface TokenFacts {
  readonly appId: string | undefined;
  readonly isValid: boolean;
  /** Meta's subcode of why it is not valid; 463 is "expired". */
  readonly errorSubcode: number | undefined;
  /** Undefined: Meta did not say. */
  readonly issuedAt: Date | undefined;
  /** Null: never. */
  readonly expiresAt: Date | null;
  /** Undefined: Meta did not say. */
  readonly scopes: readonly string[] | undefined;
  /** By scope, the ids it is limited to. A scope that is not here holds for all assets. */
  readonly targetIds: ReadonlyMap<string, readonly string[]>;
}

/** A business number as Graph shows it. Undefined: Meta did not say. */
export interface PhoneNumberFacts {
  readonly id: string;
  readonly displayPhoneNumber: string | undefined;
  readonly verifiedName: string | undefined;
  /** GREEN, YELLOW, RED or UNKNOWN. */
  readonly qualityRating: string | undefined;
  /** STANDARD (80 messages a second), HIGH (1,000) or NOT_APPLICABLE. */
  readonly throughputLevel: string | undefined;
  /** CLOUD_API when it is registered. */
  readonly platformType: string | undefined;
  /** CONNECTED when it works. */
  readonly status: string | undefined;
  readonly codeVerificationStatus: string | undefined;
  /** Also in use in the WhatsApp Business app: coexistence. */
  readonly isOnBizApp: boolean | undefined;
  /** Where its webhooks go. The number's wins over the account's, that over the app's (Meta, "Webhook overrides"). */
  readonly callbacks: {
    readonly phoneNumber: string | undefined;
    readonly waba: string | undefined;
    readonly application: string | undefined;
  };
}

/** The app's webhook settings for WhatsApp. */
export interface AppSubscription {
  readonly callbackUrl: string | undefined;
  readonly active: boolean;
  readonly fields: readonly string[];
}

/** An answer of Meta's, or why there is none. */
export type GraphRead<Value> = { readonly outcome: 'answered'; readonly value: Value } | CallFailure;

export interface GraphManagementOptions {
  /** `https://graph.facebook.com`, or the sandbox. */
  readonly baseUrl: string;
  /** As `v26.0`. */
  readonly version: string;
  readonly timeoutMs?: number;
  /** Milliseconds since 1970, to read a Retry-After date by. */
  readonly now?: () => number;
}

// A person waits for the answer, and a call that sets a callback waits for our own answer to Meta's verification.
const TIMEOUT_MS = 10_000;

const PAGE_SIZE = 100;
// A WhatsApp account has a few dozen numbers at most; this only ends a list that does not end.
const MAX_PAGES = 20;

const PHONE_NUMBER_FIELDS =
  'id,display_phone_number,verified_name,quality_rating,code_verification_status,platform_type,throughput,status,' +
  'is_on_biz_app,webhook_configuration';

const WEBHOOK_OBJECT = 'whatsapp_business_account';

/**
 * The management side of Meta's Graph API: tokens, numbers and webhook settings (META 6). One call makes one request, or
 * one for each page of a list. It throws nothing but our own bugs, and no outcome holds a token. Meta allows 200 such calls
 * an hour for each app and account.
 */
export class GraphManagement {
  readonly #baseUrl: string;
  readonly #timeoutMs: number;
  readonly #now: () => number;

  constructor({ baseUrl, version, timeoutMs = TIMEOUT_MS, now = Date.now }: GraphManagementOptions) {
    this.#baseUrl = `${baseUrl.replace(/\/+$/, '')}/${version}`;
    this.#timeoutMs = timeoutMs;
    this.#now = now;
  }

  /** What Meta knows of the token. A dead one is refused with code 190, or answered as not valid. */
  async debugToken(credentials: GraphCredentials): Promise<GraphRead<TokenFacts>> {
    const query = { input_token: credentials.accessToken };
    return reading(await this.#call('GET', 'debug_token', credentials, { query }), (body) => {
      const data = asObject(body['data']) ?? {};
      // 0 is "never", and for the time of issue "not known".
      const time = (value: unknown) => (asNumber(value) === 0 ? undefined : asTime(value));
      return {
        appId: asString(data['app_id']),
        isValid: data['is_valid'] === true,
        errorSubcode: asNumber(asObject(data['error'])?.['subcode']),
        issuedAt: time(data['issued_at']),
        expiresAt: time(data['expires_at']) ?? null,
        scopes: Array.isArray(data['scopes']) ? strings(data['scopes']) : undefined,
        targetIds: targetIdsOf(data['granular_scopes']),
      };
    });
  }

  /** The ids of all numbers of a WhatsApp account. */
  async phoneNumberIds(credentials: GraphCredentials, wabaId: string): Promise<GraphRead<readonly string[]>> {
    const ids: string[] = [];
    let after: string | undefined;
    for (let page = 0; page < MAX_PAGES; page += 1) {
      const query = { fields: 'id', limit: String(PAGE_SIZE), ...(after !== undefined && { after }) };
      const answer = await this.#call('GET', `${segment(wabaId)}/phone_numbers`, credentials, { query });
      if (answer.outcome !== 'answered') return answer;
      ids.push(...idsOf(answer.body['data']));
      const paging = asObject(answer.body['paging']);
      after = asString(asObject(paging?.['cursors'])?.['after']);
      if (after === undefined || paging?.['next'] === undefined) break;
    }
    return { outcome: 'answered', value: ids };
  }

  async phoneNumber(credentials: GraphCredentials, phoneNumberId: string): Promise<GraphRead<PhoneNumberFacts>> {
    const query = { fields: PHONE_NUMBER_FIELDS };
    return reading(await this.#call('GET', segment(phoneNumberId), credentials, { query }), (body) => {
      const callbacks = asObject(body['webhook_configuration']);
      const isOnBizApp = body['is_on_biz_app'];
      return {
        id: asString(body['id']) ?? phoneNumberId,
        displayPhoneNumber: asString(body['display_phone_number']),
        verifiedName: asString(body['verified_name']),
        qualityRating: asString(body['quality_rating']),
        throughputLevel: asString(asObject(body['throughput'])?.['level']),
        platformType: asString(body['platform_type']),
        status: asString(body['status']),
        codeVerificationStatus: asString(body['code_verification_status']),
        isOnBizApp: typeof isOnBizApp === 'boolean' ? isOnBizApp : undefined,
        callbacks: {
          phoneNumber: asString(callbacks?.['phone_number']),
          waba: asString(callbacks?.['whatsapp_business_account']),
          application: asString(callbacks?.['application']),
        },
      };
    });
  }

  /** Has this number's webhooks delivered there, whatever account and app say; null takes the override away. */
  async setNumberOverride(
    credentials: GraphCredentials,
    phoneNumberId: string,
    target: WebhookTarget | null,
  ): Promise<GraphRead<null>> {
    const override = target === null ? { override_callback_uri: '' } : overrideOf(target);
    const body = { webhook_configuration: override };
    return reading(await this.#call('POST', segment(phoneNumberId), credentials, { body }), () => null);
  }

  /** The ids of the apps that get the account's webhooks. */
  async subscribedAppIds(credentials: GraphCredentials, wabaId: string): Promise<GraphRead<readonly string[]>> {
    return reading(await this.#call('GET', `${segment(wabaId)}/subscribed_apps`, credentials), (body) =>
      idsOf(asArray(body['data']).map((app) => asObject(app)?.['whatsapp_business_api_data'])),
    );
  }

  /**
   * Has the account deliver to the token's app, and to another callback than the app's when `override` is given. Without it
   * an override that the account has is taken away (Meta, "Webhook overrides").
   */
  async subscribeApp(
    credentials: GraphCredentials,
    wabaId: string,
    override?: WebhookTarget,
  ): Promise<GraphRead<null>> {
    const more = override === undefined ? {} : { body: overrideOf(override) };
    return reading(await this.#call('POST', `${segment(wabaId)}/subscribed_apps`, credentials, more), () => null);
  }

  /** Ends what {@link subscribeApp} began. */
  async unsubscribeApp(credentials: GraphCredentials, wabaId: string): Promise<GraphRead<null>> {
    return reading(await this.#call('DELETE', `${segment(wabaId)}/subscribed_apps`, credentials), () => null);
  }

  /** The app's callback and fields for WhatsApp; null when it has none. */
  async appSubscription(app: GraphApp): Promise<GraphRead<AppSubscription | null>> {
    const answer = await this.#call('GET', `${segment(app.appId)}/subscriptions`, appCredentials(app));
    return reading(answer, (body) => {
      const found = asArray(body['data'])
        .map(asObject)
        .find((one) => one?.['object'] === WEBHOOK_OBJECT);
      if (found === undefined) return null;
      return {
        callbackUrl: asString(found['callback_url']),
        active: found['active'] !== false,
        fields: asArray(found['fields']).flatMap((field) => asString(asObject(field)?.['name'] ?? field) ?? []),
      };
    });
  }

  /** Sets the app's callback and fields. Meta verifies the callback with a GET before it answers. */
  async setAppSubscription(
    app: GraphApp,
    { callbackUrl, verifyToken, fields }: WebhookTarget & { readonly fields: readonly string[] },
  ): Promise<GraphRead<null>> {
    const body = {
      object: WEBHOOK_OBJECT,
      callback_url: callbackUrl,
      verify_token: verifyToken,
      fields: fields.join(','),
    };
    return reading(
      await this.#call('POST', `${segment(app.appId)}/subscriptions`, appCredentials(app), { body }),
      () => null,
    );
  }

  async deleteAppSubscription(app: GraphApp): Promise<GraphRead<null>> {
    const query = { object: WEBHOOK_OBJECT };
    return reading(
      await this.#call('DELETE', `${segment(app.appId)}/subscriptions`, appCredentials(app), { query }),
      () => null,
    );
  }

  #call(
    method: HttpMethod,
    path: string,
    { accessToken, appSecret }: GraphCredentials,
    { query = {}, body }: { readonly query?: Readonly<Record<string, string>>; readonly body?: object } = {},
  ): Promise<GraphAnswer | CallFailure> {
    const proof = appSecret === undefined ? {} : { appsecret_proof: proofOf(accessToken, appSecret) };
    const search = new URLSearchParams({ ...query, ...proof }).toString();
    return callGraph({
      method,
      url: `${this.#baseUrl}/${path}${search === '' ? '' : `?${search}`}`,
      accessToken,
      body,
      timeoutMs: this.#timeoutMs,
      now: this.#now,
    });
  }
}

const segment = (id: string): string => encodeURIComponent(id);

/** The app token holds the App Secret itself, so it needs no proof. */
const appCredentials = ({ appId, appSecret }: GraphApp): GraphCredentials => ({
  accessToken: `${appId}|${appSecret}`,
});

/** Meta, "Securing Graph API requests": hex HMAC-SHA256 of the token, by the App Secret. */
const proofOf = (accessToken: string, appSecret: string): string =>
  createHmac('sha256', appSecret).update(accessToken).digest('hex');

const overrideOf = ({ callbackUrl, verifyToken }: WebhookTarget) => ({
  override_callback_uri: callbackUrl,
  verify_token: verifyToken,
});

function reading<Value>(answer: GraphAnswer | CallFailure, read: (body: JsonObject) => Value): GraphRead<Value> {
  return answer.outcome === 'answered' ? { outcome: 'answered', value: read(answer.body) } : answer;
}

const strings = (value: unknown): string[] => asArray(value).flatMap((one) => asString(one) ?? []);

const idsOf = (value: unknown): string[] => asArray(value).flatMap((one) => asString(asObject(one)?.['id']) ?? []);

function targetIdsOf(value: unknown): Map<string, readonly string[]> {
  const targets = new Map<string, readonly string[]>();
  for (const granular of asArray(value).map(asObject)) {
    const scope = asString(granular?.['scope']);
    // Absent ids: the scope holds for all assets.
    if (scope !== undefined && Array.isArray(granular?.['target_ids'])) {
      targets.set(scope, strings(granular['target_ids']));
    }
  }
  return targets;
}

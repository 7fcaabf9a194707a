import type { AppSettings, AppSubscription, Callback, TokenSettings, WabaSettings } from './account-schemas.ts';
import { tokenScopes } from './account-schemas.ts';
import type { BusinessNumber, SandboxNumber } from './control-schemas.ts';
import { sandboxNumberSchema } from './control-schemas.ts';

/** A token that somebody may call with. `isNumbersOwn`: it was only ever named as the token of a number. */
export type AccessToken = TokenSettings & { readonly isNumbersOwn: boolean };

/** A WhatsApp Business Account: what Meta says of it, the apps that get its webhooks, and where they want them instead. */
export interface Waba {
  readonly wabaId: string;
  readonly settings: Omit<WabaSettings, 'subscribedAppIds' | 'override'>;
  /** An app's override of its callback for this WABA; null when it has none. */
  readonly subscribedApps: Map<string, Callback | null>;
}

/** What {@link Accounts.snapshot} gives and the file of the accounts holds. */
export interface AccountsSnapshot {
  readonly numbers: readonly BusinessNumber[];
  readonly overrides: readonly (readonly [string, Callback])[];
  readonly tokens: readonly TokenSettings[];
  readonly apps: readonly (readonly [string, AppSettings])[];
  readonly wabas: readonly (Omit<Waba, 'subscribedApps'> & {
    readonly subscribedApps: readonly (readonly [string, Callback | null])[];
  })[];
}

/** Where a webhook goes, and the secret that it is signed with. */
export interface WebhookTarget {
  readonly callbackUrl: string;
  readonly appSecret: string;
}

/** The accounts at Meta: business numbers, tokens, apps and WABAs, and who may do what with them. */
export class Accounts {
  readonly numbers = new Map<string, BusinessNumber>();
  private readonly overrides = new Map<string, Callback>();
  private readonly tokens = new Map<string, TokenSettings>();
  private readonly apps = new Map<string, AppSettings>();
  private readonly wabas = new Map<string, Waba>();

  putNumber(given: SandboxNumber): BusinessNumber {
    const { override, ...number } = sandboxNumberSchema.parse(given);
    this.numbers.set(number.phoneNumberId, number);
    if (override !== undefined) this.setOverride(number.phoneNumberId, override);
    return number;
  }

  /** The callback that a number has instead of its WABA's or app's. */
  override(phoneNumberId: string): Callback | undefined {
    return this.overrides.get(phoneNumberId);
  }

  setOverride(phoneNumberId: string, callback: Callback | null): void {
    if (callback) this.overrides.set(phoneNumberId, callback);
    else this.overrides.delete(phoneNumberId);
  }

  /** Everything as JSON, secrets and tokens included. */
  snapshot(): AccountsSnapshot {
    return {
      numbers: [...this.numbers.values()],
      overrides: [...this.overrides],
      tokens: [...this.tokens.values()],
      apps: [...this.apps],
      wabas: [...this.wabas.values()].map((waba) => ({ ...waba, subscribedApps: [...waba.subscribedApps] })),
    };
  }

  restore({ numbers, overrides, tokens, apps, wabas }: AccountsSnapshot): void {
    for (const number of numbers) this.putNumber(number);
    for (const [phoneNumberId, callback] of overrides) this.setOverride(phoneNumberId, callback);
    for (const token of tokens) this.putToken(token);
    for (const [appId, app] of apps) this.putApp(appId, app);
    for (const { wabaId, settings, subscribedApps } of wabas) {
      this.wabas.set(wabaId, { wabaId, settings, subscribedApps: new Map(subscribedApps) });
    }
  }

  numbersOf(wabaId: string): BusinessNumber[] {
    return [...this.numbers.values()].filter((number) => number.wabaId === wabaId);
  }

  putToken(token: TokenSettings): void {
    this.tokens.set(token.accessToken, token);
  }

  /** A known token, valid or not. That of a number which was never put by itself is a valid one of the number's app. */
  token(accessToken: string): AccessToken | undefined {
    const known = this.tokens.get(accessToken);
    if (known) return { ...known, isNumbersOwn: false };
    const number = [...this.numbers.values()].find((each) => each.accessToken === accessToken);
    if (!number) return undefined;
    return {
      accessToken,
      appId: number.appId,
      scopes: [...tokenScopes],
      expiresAt: 0,
      isValid: true,
      isNumbersOwn: true,
    };
  }

  putApp(appId: string, changes: AppSettings): void {
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    this.apps.set(appId, { ...this.apps.get(appId), ...Object.fromEntries(given) });
  }

  isApp(appId: string): boolean {
    return this.apps.has(appId) || this.secretsOf(appId).length > 0;
  }

  /** The app's secret, or while it was never given those of its numbers. */
  secretsOf(appId: string): readonly string[] {
    const given = this.apps.get(appId)?.appSecret;
    if (given !== undefined) return [given];
    const numbers = [...this.numbers.values()].filter((number) => number.appId === appId);
    return numbers.map((number) => number.appSecret);
  }

  subscription(appId: string): AppSubscription | undefined {
    return this.apps.get(appId)?.subscription ?? undefined;
  }

  /** Changes what is given. An override is set for every subscribed app, so without one it is lost. */
  putWaba(wabaId: string, { subscribedAppIds, override, ...changes }: WabaSettings): Waba {
    const before = this.waba(wabaId);
    const given = Object.entries(changes).filter(([, value]) => value !== undefined);
    const subscribedApps = before?.subscribedApps ?? new Map<string, Callback | null>();
    if (subscribedAppIds) {
      const kept = new Map(subscribedApps);
      subscribedApps.clear();
      for (const appId of subscribedAppIds) subscribedApps.set(appId, kept.get(appId) ?? null);
    }
    if (override !== undefined) for (const appId of subscribedApps.keys()) subscribedApps.set(appId, override);
    const waba = { wabaId, settings: { ...before?.settings, ...Object.fromEntries(given) }, subscribedApps };
    this.wabas.set(wabaId, waba);
    return waba;
  }

  /** A WABA that was put, or that a number names. */
  waba(wabaId: string): Waba | undefined {
    const known = this.wabas.get(wabaId);
    if (known || this.numbersOf(wabaId).length === 0) return known;
    const waba = { wabaId, settings: {}, subscribedApps: new Map<string, Callback | null>() };
    this.wabas.set(wabaId, waba);
    return waba;
  }

  /** Whether a token reaches a WABA: the ones it was given, else those of its app and those that are nobody's yet. */
  reaches(token: AccessToken, wabaId: string): boolean {
    if (token.wabaIds) return token.wabaIds.includes(wabaId);
    const numbers = this.numbersOf(wabaId);
    return (
      numbers.length === 0 ||
      numbers.some((number) => number.appId === token.appId) ||
      this.waba(wabaId)?.subscribedApps.has(token.appId) === true
    );
  }

  /** Where webhooks with this field go; nothing when nobody asked for them. */
  webhookTarget(phoneNumberId: string, field: string): WebhookTarget | undefined {
    const number = this.numbers.get(phoneNumberId);
    if (!number) return undefined;
    const appSecret = this.apps.get(number.appId)?.appSecret ?? number.appSecret;
    const subscribedApps = this.waba(number.wabaId)?.subscribedApps;
    const wabaOverride = subscribedApps?.get(number.appId);
    const subscription = subscribedApps?.has(number.appId) ? this.subscription(number.appId) : undefined;
    const isAsked = subscription?.active === true && subscription.fields.includes(field);
    const callbackUrl =
      (overridable.test(field) ? (this.overrides.get(phoneNumberId) ?? wabaOverride)?.callbackUrl : undefined) ??
      (isAsked ? subscription.callbackUrl : number.callbackUrl);
    return callbackUrl === undefined ? undefined : { callbackUrl, appSecret };
  }
}

/** Fields whose webhooks an override moves; those of templates and the account stay (Meta, "Webhook overrides"). */
const overridable =
  /^(messages|message_echoes|smb_message_echoes|messaging_handovers|standby|calls|history|group_\w+|account_settings_update)$/;

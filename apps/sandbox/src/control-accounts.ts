import { InvalidInput } from '@answerline/errors';
import type { FastifyInstance } from 'fastify';
import { appSettingsSchema, tokenSettingsSchema, wabaSettingsSchema, type Callback } from './account-schemas.ts';
import type { Accounts, Waba } from './accounts.ts';
import { numberSettingsSchema, type BusinessNumber } from './control-schemas.ts';
import type { Meta } from './meta.ts';
import { parseRequest } from './parse-request.ts';

interface ById {
  Params: { id: string };
}

/** Numbers, tokens, apps and WABAs: what somebody sets up at Meta. No answer shows a secret, a token or a verify token. */
export function accountRoutes(app: FastifyInstance, meta: Meta): void {
  const { accounts } = meta;
  app.put<ById>('/numbers/:id', async (request) => {
    const settings = parseRequest(numberSettingsSchema, request.body);
    const number = accounts.putNumber({ ...settings, phoneNumberId: request.params.id });
    await meta.accountsFile.save();
    meta.threads.publish({ type: 'changed', what: 'numbers' });
    return shownNumber(accounts, number);
  });
  app.get('/numbers', async () => ({
    items: [...accounts.numbers.values()].map((number) => shownNumber(accounts, number)),
  }));
  app.post<ById>('/numbers/:id/verify-webhook', async (request) => {
    const { callbackUrl, verifyToken } = numberOf(meta, request.params.id);
    if (callbackUrl === undefined || verifyToken === undefined) {
      throw new InvalidInput('no_callback', 'The number was given no callbackUrl and verifyToken.', {
        httpStatus: 409,
      });
    }
    return meta.delivery.verify({ callbackUrl, verifyToken });
  });
  app.put('/tokens', async (request) => {
    const { accessToken, ...shown } = parseRequest(tokenSettingsSchema, request.body);
    accounts.putToken({ accessToken, ...shown });
    await meta.accountsFile.save();
    return shown;
  });
  app.put<ById>('/apps/:id', async (request) => {
    accounts.putApp(request.params.id, parseRequest(appSettingsSchema, request.body));
    await meta.accountsFile.save();
    return shownApp(accounts, request.params.id);
  });
  app.get<ById>('/apps/:id', async (request) => {
    if (!accounts.isApp(request.params.id)) throw notFound('app_not_found', 'There is no such app.');
    return shownApp(accounts, request.params.id);
  });
  app.put<ById>('/wabas/:id', async (request) => {
    const settings = parseRequest(wabaSettingsSchema, request.body);
    const apps = settings.subscribedAppIds?.length ?? accounts.waba(request.params.id)?.subscribedApps.size ?? 0;
    if (settings.override && apps === 0) {
      throw new InvalidInput('invalid_request', 'An override belongs to a subscribed app: give subscribedAppIds.');
    }
    const waba = accounts.putWaba(request.params.id, settings);
    await meta.accountsFile.save();
    return shownWaba(accounts, waba);
  });
  app.get<ById>('/wabas/:id', async (request) => {
    const waba = accounts.waba(request.params.id);
    if (!waba) throw notFound('waba_not_found', 'There is no such WABA.');
    return shownWaba(accounts, waba);
  });
}

/** @throws InvalidInput number_not_found (404) */
export function numberOf(meta: Meta, phoneNumberId: string): BusinessNumber {
  const number = meta.accounts.numbers.get(phoneNumberId);
  if (!number) throw notFound('number_not_found', 'There is no such business number.');
  return number;
}

function shownNumber(accounts: Accounts, number: BusinessNumber) {
  const { accessToken: _, appSecret: __, verifyToken: ___, ...shown } = number;
  return { ...shown, override: shownCallback(accounts.override(number.phoneNumberId)) };
}

function shownApp(accounts: Accounts, appId: string) {
  const subscription = accounts.subscription(appId);
  if (!subscription) return { appId, subscription: null };
  const { callbackUrl, fields, active } = subscription;
  return { appId, subscription: { callbackUrl, fields, active } };
}

function shownWaba(accounts: Accounts, { wabaId, settings, subscribedApps }: Waba) {
  const overrides = [...subscribedApps].flatMap(([appId, override]) => (override ? [{ appId, ...override }] : []));
  return {
    wabaId,
    ...settings,
    subscribedAppIds: [...subscribedApps.keys()],
    override: shownCallback(overrides[0]),
    overrides: overrides.map(({ appId, callbackUrl }) => ({ appId, callbackUrl })),
    phoneNumberIds: accounts.numbersOf(wabaId).map(({ phoneNumberId }) => phoneNumberId),
  };
}

function shownCallback(callback: Callback | undefined) {
  return callback ? { callbackUrl: callback.callbackUrl } : null;
}

function notFound(code: string, detail: string): InvalidInput {
  return new InvalidInput(code, detail, { httpStatus: 404 });
}

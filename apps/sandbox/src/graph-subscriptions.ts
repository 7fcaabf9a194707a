import type { FastifyInstance } from 'fastify';
import type { Callback } from './account-schemas.ts';
import { identify, identifyWith, noSuchObject, reachableWaba } from './graph-access.ts';
import { badParameter, GraphRefused, managementRoute, type GraphCall, type GraphRoute } from './graph-call.ts';
import { refusal } from './graph-error.ts';
import type { Meta } from './meta.ts';
import { checkedCallback, givenCallback, verifyCallback } from './verify-callback.ts';

const webhookObject = 'whatsapp_business_account';
/** Version that Meta names beside each field of a subscription. */
const fieldVersion = 'v26.0';

/** Which apps get a WABA's webhooks, and an app's own subscription: callback and fields. */
export function subscriptionRoutes(app: FastifyInstance, meta: Meta): void {
  const routes = {
    subscribed_apps: { GET: subscribedApps, POST: subscribeApp, DELETE: unsubscribeApp },
    subscriptions: { GET: subscriptions, POST: subscribe, DELETE: unsubscribe },
  };
  for (const [edge, actions] of Object.entries(routes)) {
    for (const [method, action] of Object.entries(actions)) {
      const handler = managementRoute(meta, (call) => action(meta, call));
      app.route<GraphRoute>({ method, url: `/:id/${edge}`, handler });
    }
  }
}

function subscribedApps(meta: Meta, call: GraphCall): unknown {
  const token = identifyWith(meta, call, 'whatsapp_business_management');
  const { subscribedApps: apps } = reachableWaba(meta, call, token, call.id);
  return { data: [...apps].map(([appId, override]) => shownApp(appId, override)) };
}

/** Without a body the app gets the webhooks at its own callback, and an override that it had is gone (Meta, "Manage webhooks"). */
async function subscribeApp(meta: Meta, call: GraphCall): Promise<unknown> {
  const token = identifyWith(meta, call, 'whatsapp_business_management');
  const waba = reachableWaba(meta, call, token, call.id);
  const callback = givenCallback(call.parameters) ?? null;
  if (callback) await verifyCallback(meta, callback);
  waba.subscribedApps.set(token.appId, callback);
  return { success: true, ...(callback && { data: [shownApp(token.appId, callback)] }) };
}

function unsubscribeApp(meta: Meta, call: GraphCall): unknown {
  const token = identifyWith(meta, call, 'whatsapp_business_management');
  reachableWaba(meta, call, token, call.id).subscribedApps.delete(token.appId);
  return { success: true };
}

function shownApp(appId: string, override: Callback | null) {
  return {
    whatsapp_business_api_data: {
      id: appId,
      link: `https://www.facebook.com/games/?app_id=${appId}`,
      name: `App ${appId}`,
    },
    ...(override && { override_callback_uri: override.callbackUrl }),
  };
}

function subscriptions(meta: Meta, call: GraphCall): unknown {
  const subscription = meta.accounts.subscription(ownApp(meta, call));
  if (!subscription) return { data: [] };
  const { callbackUrl, active, fields } = subscription;
  return {
    data: [
      {
        object: webhookObject,
        callback_url: callbackUrl,
        active,
        fields: fields.map((name) => ({ name, version: fieldVersion })),
      },
    ],
  };
}

/** Sets callback and fields anew. The verification GET is made before the answer is given. */
async function subscribe(meta: Meta, call: GraphCall): Promise<unknown> {
  const appId = ownApp(meta, call);
  const { object, callback_url: callbackUrl, verify_token: verifyToken } = call.parameters;
  if (object !== webhookObject) throw new GraphRefused(badParameter(`Param object must be ${webhookObject}.`));
  const callback = checkedCallback('callback_url', callbackUrl, verifyToken);
  const fields = fieldList(call.parameters['fields']);
  if (fields.length === 0) throw new GraphRefused(badParameter('The parameter fields is required.'));
  const odd = fields.find((field) => !/^[a-z][a-z_]*$/.test(field));
  if (odd !== undefined) throw new GraphRefused(badParameter(`Param fields has no value ${odd}.`));
  await verifyCallback(meta, callback);
  meta.accounts.putApp(appId, { subscription: { ...callback, fields, active: true } });
  // A string here, as Meta's page of this edge shows it; elsewhere it is a boolean.
  return { success: 'true' };
}

/** Takes away the fields that are named, or the whole subscription. */
function unsubscribe(meta: Meta, call: GraphCall): unknown {
  const appId = ownApp(meta, call);
  const subscription = meta.accounts.subscription(appId);
  const named = fieldList(call.parameters['fields']);
  const fields = subscription?.fields.filter((field) => named.length > 0 && !named.includes(field)) ?? [];
  meta.accounts.putApp(appId, {
    subscription: subscription && fields.length > 0 ? { ...subscription, fields } : null,
  });
  return { success: 'true' };
}

/** The app that is called, which only its own token may do. @throws GraphRefused 15 for another token */
function ownApp(meta: Meta, call: GraphCall): string {
  const caller = identify(meta, call);
  if (caller.kind !== 'app') throw new GraphRefused(refusal(15));
  if (caller.appId !== call.id) throw new GraphRefused(noSuchObject(call.method, call.id));
  return caller.appId;
}

/** Names separated by commas, or a list. */
function fieldList(value: unknown): string[] {
  const names = Array.isArray(value) ? value : typeof value === 'string' ? value.replace(/[[\]"]/g, '').split(',') : [];
  return [...new Set(names.map((name) => String(name).trim()).filter((name) => name !== ''))];
}

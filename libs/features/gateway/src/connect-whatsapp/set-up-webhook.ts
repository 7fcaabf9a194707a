import {
  type CallbackPlan,
  type Connection,
  type ConnectionCheck,
  type GraphManagement,
  type GraphRead,
  troubleOf,
  type WebhookTarget,
} from '@answerline/whatsapp';
import { type WhatsAppCheck } from './connection-checks.ts';

/** What has to be done at Meta for a connection. */
export interface WebhookSetup {
  readonly connection: Connection;
  readonly target: WebhookTarget;
  /** The account does not deliver to the app yet. */
  readonly isAppMissing: boolean;
  readonly callback: CallbackPlan;
  /** The app had no subscription, so undoing takes it away again. */
  readonly hadAppSubscription: boolean;
  /** The number had an override, whoever's: setting ours took it away. */
  readonly hadNumberOverride: boolean;
}

type Undo = () => Promise<GraphRead<null>>;

/** What was changed at Meta, and its way back. */
export interface SetUpWebhook {
  readonly changed: boolean;
  /** What stood there before cannot be set again, so that giving up now would leave nothing that delivers. */
  readonly isFinal: boolean;
  /** Why it did not work; everything was undone then. */
  readonly refused: WhatsAppCheck | undefined;
  /** Takes back what was done, last first, as far as Meta lets. */
  readonly undo: () => Promise<void>;
}

/**
 * Subscribes the app to the account and has the webhooks delivered here, as planned. What was somebody else's is changed last
 * and in one call, because nobody but its owner could set it back: no verify token can be read.
 */
export async function setUpWebhook(graph: GraphManagement, setup: WebhookSetup): Promise<SetUpWebhook> {
  const undos: Undo[] = [];
  const undo = async (): Promise<void> => {
    for (const one of undos.splice(0).toReversed()) await one();
  };
  for (const step of [subscribe, setCallback]) {
    const refused = await step(graph, setup, undos);
    if (!refused) continue;
    await undo();
    return { changed: false, isFinal: false, refused, undo };
  }
  const { callback, hadAppSubscription, hadNumberOverride } = setup;
  const isFinal =
    (callback.step === 'set_app_subscription' && hadAppSubscription) ||
    (callback.step === 'set_number_override' && hadNumberOverride);
  return { changed: setup.isAppMissing || isChange(callback), isFinal, refused: undefined, undo };
}

const isChange = ({ step }: CallbackPlan): boolean => step === 'set_app_subscription' || step === 'set_number_override';

async function subscribe(
  graph: GraphManagement,
  { connection, isAppMissing }: WebhookSetup,
  undos: Undo[],
): Promise<ConnectionCheck | undefined> {
  if (!isAppMissing) return undefined;
  const { wabaId } = connection;
  const subscribed = await graph.subscribeApp(connection, wabaId);
  if (mayBeDone(subscribed)) undos.push(() => graph.unsubscribeApp(connection, wabaId));
  if (subscribed.outcome === 'answered') return undefined;
  return {
    check: 'app_subscribed',
    ...(troubleOf(subscribed) ?? {
      status: 'failed',
      code: 'app_not_subscribed',
      message: 'Meta did not let this app be subscribed to the WhatsApp Business Account.',
      action:
        'Give the system user full control of the WhatsApp account in Business Settings → System Users → Add Assets, and ' +
        'of the app as well; then connect again.',
    }),
  };
}

async function setCallback(
  graph: GraphManagement,
  setup: WebhookSetup,
  undos: Undo[],
): Promise<WhatsAppCheck | undefined> {
  const { callback, connection, target } = setup;
  const { phoneNumberId } = connection;
  let set: GraphRead<null> = { outcome: 'answered', value: null };
  if (callback.step === 'set_number_override') {
    set = await graph.setNumberOverride(connection, phoneNumberId, target);
    if (mayBeDone(set)) undos.push(() => graph.setNumberOverride(connection, phoneNumberId, null));
  }
  if (callback.step === 'set_app_subscription') set = await subscribeFields(graph, setup, callback.fields, undos);
  return set.outcome === 'answered' ? undefined : callbackRefused(set);
}

/** What never left us, or was refused, changed nothing that could be taken back. */
const mayBeDone = ({ outcome }: GraphRead<null>): boolean => outcome === 'answered' || outcome === 'unknown';

/** Meta refuses a list with a field that the app is not offered, so the shorter list is tried after the longer one. */
async function subscribeFields(
  graph: GraphManagement,
  { connection: { appId, appSecret = '' }, target, hadAppSubscription }: WebhookSetup,
  lists: readonly (readonly string[])[],
  undos: Undo[],
): Promise<GraphRead<null>> {
  const app = { appId, appSecret };
  let set: GraphRead<null> = { outcome: 'unknown', reason: 'no_fields' };
  for (const fields of lists) {
    set = await graph.setAppSubscription(app, { ...target, fields });
    if (set.outcome !== 'refused' || set.failure.code !== PARAMETER_REFUSED) break;
  }
  if (mayBeDone(set) && !hadAppSubscription) undos.push(() => graph.deleteAppSubscription(app));
  return set;
}

/** Graph: a parameter has a value that it cannot have. */
const PARAMETER_REFUSED = 100;

/** What Meta does not let be set is a callback that it could not verify: nothing else about these calls can be wrong. */
function callbackRefused(set: GraphRead<null>): WhatsAppCheck {
  return {
    check: 'callback',
    ...(troubleOf(set) ?? {
      status: 'failed',
      code: 'callback_unreachable',
      message: 'Meta’s verification did not get through to this installation: “The URL could not be validated”.',
      action:
        'The address in PUBLIC_URL must be reachable from the internet by https with a certificate of a public authority. ' +
        'Look at the DNS record, and at the proxy, firewall or tunnel in front of the gateway.',
    }),
  };
}

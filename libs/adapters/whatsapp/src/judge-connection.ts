import { effectiveCallback, isOwnCallback } from './choose-callback.ts';
import {
  CONNECTION_CHECKS,
  failed,
  notChecked,
  ok,
  refusalOf,
  troubleOf,
  warning,
  type ConnectionCheck,
  type ConnectionCheckName,
  type Verdict,
} from './connection-check.ts';
import {
  MANAGEMENT_SCOPE,
  PASTE_CALLBACK,
  type CheckOptions,
  type Connection,
  type ConnectionAnswers,
} from './connection.ts';
import { type GraphRead, type TokenFacts } from './graph-management.ts';
import {
  appIdVerdict,
  appSecretVerdict,
  managementVerdict,
  MESSAGING_SCOPE,
  messagingVerdict,
  tokenVerdict,
} from './judge-token.ts';
import { CORE_WEBHOOK_FIELDS } from './webhook-fields.ts';

const SHARE_ASSETS =
  'In Business Settings → System Users → Add Assets, give this system user the WhatsApp account with full control.';
const SUBSCRIBE_MESSAGES =
  'In Meta → your app → WhatsApp → Configuration, under Webhook fields, the messages field must show as Subscribed. If ' +
  'it says Not subscribed, click Manage and toggle it on.';

/** The verdicts on what Meta answered, one for each of {@link CONNECTION_CHECKS}. Pure. */
export function judgeConnection(
  connection: Connection,
  answers: ConnectionAnswers,
  options: CheckOptions,
): ConnectionCheck[] {
  const token = tokenVerdict(answers.token, connection, options);
  const facts = answers.token.outcome === 'answered' && answers.token.value.isValid ? answers.token.value : undefined;
  // Nothing more can be asked with a token that Meta does not take.
  const rest = facts === undefined ? undefined : verdictsWithToken(facts, connection, answers, options);
  return CONNECTION_CHECKS.map((check) => ({
    check,
    ...(check === 'token' ? token : (rest?.[check] ?? notChecked('The access token has to work first.'))),
  }));
}

type OtherVerdicts = Record<Exclude<ConnectionCheckName, 'token'>, Verdict>;

function verdictsWithToken(
  facts: TokenFacts,
  connection: Connection,
  answers: ConnectionAnswers,
  options: CheckOptions,
): OtherVerdicts {
  const cannotVerify =
    facts.scopes?.includes(MANAGEMENT_SCOPE) === false
      ? notChecked('Without whatsapp_business_management this cannot be verified.')
      : undefined;
  return {
    app_id: appIdVerdict(facts, connection),
    app_secret: appSecretVerdict(facts, connection, answers),
    scope_messaging: messagingVerdict(facts),
    scope_management: managementVerdict(facts),
    waba: sharedVerdict(facts, connection) ?? cannotVerify ?? wabaVerdict(answers.phoneNumberIds),
    phone_number: cannotVerify ?? phoneNumberVerdict(answers),
    phone_number_in_waba: cannotVerify ?? inWabaVerdict(connection, answers),
    phone_number_registered: cannotVerify ?? registeredVerdict(answers),
    app_subscribed: cannotVerify ?? subscribedVerdict(connection, answers.subscribedAppIds),
    callback: callbackVerdict(answers, options.callbackUrl),
    fields: fieldsVerdict(answers),
  };
}

/** A scope that is limited to other accounts; undefined when none is. */
function sharedVerdict({ targetIds }: TokenFacts, { wabaId }: Connection): Verdict | undefined {
  const limits = [MESSAGING_SCOPE, MANAGEMENT_SCOPE].map((scope) => targetIds.get(scope));
  return limits.some((ids) => ids !== undefined && !ids.includes(wabaId)) ? wabaNotShared : undefined;
}

const wabaNotShared = failed(
  'waba_not_shared',
  'The token may not use this WhatsApp Business Account: it was not assigned to its system user.',
  `${SHARE_ASSETS} Then generate the token again.`,
);

function wabaVerdict(read: ConnectionAnswers['phoneNumberIds']): Verdict {
  return judge(read, {
    answered: () => ok('The WhatsApp Business Account can be read.'),
    refused: (code) =>
      isPermissionCode(code)
        ? wabaNotShared
        : failed(
            'waba_not_found',
            'Meta knows no WhatsApp Business Account with this ID, or the token may not see it.',
            `Copy the WhatsApp Business Account ID from WhatsApp → API Setup. If it is right: ${SHARE_ASSETS}`,
          ),
  });
}

function phoneNumberVerdict({ phoneNumber, phoneNumberIds }: ConnectionAnswers): Verdict {
  return judge(phoneNumber, {
    answered: () => ok('The phone number can be read.'),
    refused: () =>
      phoneNumberIds?.outcome === 'answered' || isPermissionCode(refusalOf(phoneNumber).code)
        ? phoneNumberNotFound
        : failed(
            phoneNumberNotFound.code,
            phoneNumberNotFound.message,
            `${phoneNumberNotFound.action} ${SHARE_ASSETS}`,
          ),
  });
}

const phoneNumberNotFound = {
  status: 'failed',
  code: 'phone_number_not_found',
  message: 'Meta knows no phone number with this ID, or the token may not see it.',
  action:
    'Copy the Phone number ID shown next to your number in WhatsApp → API Setup. It is not the phone number itself.',
} as const;

function inWabaVerdict({ phoneNumberId }: Connection, { phoneNumberIds, phoneNumber }: ConnectionAnswers): Verdict {
  if (phoneNumber?.outcome !== 'answered') return notChecked('The phone number has to be found first.');
  return judge(phoneNumberIds, {
    answered: (ids) =>
      ids.includes(phoneNumberId)
        ? ok('The phone number belongs to the WhatsApp Business Account.')
        : failed(
            'phone_number_not_in_waba',
            'This phone number belongs to another WhatsApp Business Account.',
            'Copy both IDs from the same WhatsApp → API Setup page.',
          ),
    refused: () => notChecked('The WhatsApp Business Account has to be found first.'),
  });
}

const LIMITED_STATUSES = ['FLAGGED', 'RESTRICTED', 'RATE_LIMITED', 'BANNED', 'DISCONNECTED', 'DELETED', 'OFFLINE'];

function registeredVerdict({ phoneNumber }: ConnectionAnswers): Verdict {
  return judge(phoneNumber, {
    answered: ({ platformType, status }) => {
      if (platformType !== undefined && platformType !== 'CLOUD_API') {
        return failed(
          'phone_number_not_registered',
          'The phone number is not registered for the Cloud API, so Meta would refuse each reply.',
          'In WhatsApp → API Setup or WhatsApp Manager, finish adding the number: verify it and register it with a PIN.',
        );
      }
      if (status !== undefined && LIMITED_STATUSES.includes(status)) {
        return warning(
          'phone_number_limited',
          `Meta shows the phone number as ${status.toLowerCase()}.`,
          'Look at the number in WhatsApp Manager → Phone numbers, where Meta says why.',
        );
      }
      return ok('The phone number is registered for the Cloud API.');
    },
    refused: () => notChecked('The phone number has to be found first.'),
  });
}

function subscribedVerdict({ appId }: Connection, read: ConnectionAnswers['subscribedAppIds']): Verdict {
  return judge(read, {
    answered: (ids) =>
      ids.includes(appId)
        ? ok('The WhatsApp Business Account delivers to this app.')
        : failed(
            'app_not_subscribed',
            'The WhatsApp Business Account does not deliver to this app, so no message arrives.',
            'Connect again: the app is subscribed to the account by that.',
          ),
    refused: () => notChecked('Meta did not show which apps the WhatsApp Business Account delivers to.'),
  });
}

function callbackVerdict(
  { phoneNumber, appSubscription }: ConnectionAnswers,
  callbackUrl: string | undefined,
): Verdict {
  const trouble = troubleOf(phoneNumber) ?? troubleOf(appSubscription);
  if (trouble) return trouble;
  if (callbackUrl === undefined) return notChecked('There is no callback yet.');
  if (phoneNumber?.outcome !== 'answered' && appSubscription?.outcome !== 'answered') {
    return { ...notChecked('Where Meta delivers could not be read.'), action: PASTE_CALLBACK };
  }
  const inForce = effectiveCallback(phoneNumber, appSubscription);
  if (inForce === undefined) {
    return failed('callback_not_set', 'Meta does not know yet where to deliver messages.', PASTE_CALLBACK);
  }
  if (isOwnCallback(inForce.url, callbackUrl)) {
    return inForce.url === callbackUrl
      ? ok('Meta delivers to this installation.')
      : failed(
          'callback_not_set',
          'Meta delivers to an earlier address of this installation.',
          `Connect again, or: ${PASTE_CALLBACK}`,
        );
  }
  return failed(
    'callback_in_use',
    `The ${levelNames[inForce.level]} delivers to another address than this installation.`,
    'Connect again with callback "replace" to have everything delivered here, or with "number_override" to have only this ' +
      'number delivered here and leave the rest as it is.',
  );
}

const levelNames = { phoneNumber: 'phone number', waba: 'WhatsApp Business Account', application: 'Meta app' } as const;

function fieldsVerdict({ appSubscription }: ConnectionAnswers): Verdict {
  if (appSubscription === undefined) {
    return {
      ...notChecked('Without the App Secret the webhook fields cannot be read.'),
      action: SUBSCRIBE_MESSAGES,
    };
  }
  return judge(appSubscription, {
    answered: (subscription) => {
      const fields = subscription?.active === true ? subscription.fields : [];
      if (!fields.includes('messages')) {
        return failed(
          'field_not_subscribed',
          'The app is not subscribed to the messages field, so messages don’t reach the AI.',
          SUBSCRIBE_MESSAGES,
        );
      }
      const missing = CORE_WEBHOOK_FIELDS.filter((field) => !fields.includes(field));
      return missing.length === 0
        ? ok('The app is subscribed to the webhook fields.')
        : warning(
            'field_not_subscribed',
            `The app is not subscribed to ${missing.join(', ')}.`,
            'Toggle these on under WhatsApp → Configuration → Webhook fields → Manage.',
          );
    },
    refused: () => ({ ...notChecked('Meta did not show the webhook fields.'), action: SUBSCRIBE_MESSAGES }),
  });
}

function judge<Value>(
  read: GraphRead<Value> | undefined,
  verdicts: { readonly answered: (value: Value) => Verdict; readonly refused: (code: number) => Verdict },
): Verdict {
  if (read === undefined) return notChecked('This was not asked.');
  if (read.outcome === 'answered') return verdicts.answered(read.value);
  return troubleOf(read) ?? verdicts.refused(refusalOf(read).code);
}

/** Graph: 10 and 200 to 299 are rights that are missing. */
const isPermissionCode = (code: number): boolean => code === 10 || (code >= 200 && code <= 299);

import { type ConnectionCheck } from './connection-check.ts';
import { MANAGEMENT_SCOPE, type CheckOptions, type Connection, type ConnectionAnswers } from './connection.ts';
import { type CallFailure } from './graph-call.ts';
import {
  type AppSubscription,
  type GraphCredentials,
  type GraphManagement,
  type GraphRead,
  type PhoneNumberFacts,
  type TokenFacts,
} from './graph-management.ts';
import { judgeConnection } from './judge-connection.ts';

/** What was found out about a connection. */
export interface ConnectionReport {
  /** One entry for each check, always all of them and in the same order. */
  readonly checks: readonly ConnectionCheck[];
  readonly token: TokenFacts | undefined;
  readonly phoneNumber: PhoneNumberFacts | undefined;
  /** Undefined when it was not or could not be read; null when the app has none. */
  readonly appSubscription: AppSubscription | null | undefined;
  readonly subscribedAppIds: readonly string[] | undefined;
  /** What Meta's Retry-After asked for, with the code `rate_limited`. */
  readonly retryAfterMs: number | undefined;
}

/**
 * Asks Meta about a connection, reading only, and says of each thing that must hold whether it does, in words for its
 * owner. At most 6 calls for an account of up to 100 numbers. Throws nothing but our own bugs.
 */
export async function checkConnection(
  graph: GraphManagement,
  connection: Connection,
  options: CheckOptions,
): Promise<ConnectionReport> {
  const answers = await askMeta(graph, connection);
  return {
    checks: judgeConnection(connection, answers, options),
    token: valueOf(answers.token),
    phoneNumber: valueOf(answers.phoneNumber),
    appSubscription: valueOf(answers.appSubscription),
    subscribedAppIds: valueOf(answers.subscribedAppIds),
    retryAfterMs: retryAfterOf(answers),
  };
}

async function askMeta(graph: GraphManagement, connection: Connection): Promise<ConnectionAnswers> {
  const { appId, wabaId, phoneNumberId, accessToken, appSecret } = connection;
  const withProof: GraphCredentials = { accessToken, appSecret };
  let token = await graph.debugToken(withProof);
  // A proof is refused when the secret is not of the token's app: then either may be the wrong one.
  const withoutProof =
    isParameterRefused(token) && appSecret !== undefined ? await graph.debugToken({ accessToken }) : token;
  const isProofRefused = withoutProof !== token && withoutProof.outcome === 'answered';
  if (isProofRefused) token = withoutProof;
  const facts = valueOf(token);
  if (facts?.isValid !== true) return { token, isProofRefused };

  const credentials = isProofRefused ? { accessToken } : withProof;
  const canManage = facts.scopes?.includes(MANAGEMENT_SCOPE) ?? true;
  const knowsApp = appSecret !== undefined && !isProofRefused && facts.appId === appId;
  const [phoneNumberIds, phoneNumber, subscribedAppIds, appSubscription] = await Promise.all([
    canManage ? graph.phoneNumberIds(credentials, wabaId) : undefined,
    canManage ? graph.phoneNumber(credentials, phoneNumberId) : undefined,
    canManage ? graph.subscribedAppIds(credentials, wabaId) : undefined,
    knowsApp ? graph.appSubscription({ appId, appSecret }) : undefined,
  ]);
  return { token, isProofRefused, phoneNumberIds, phoneNumber, subscribedAppIds, appSubscription };
}

// Graph, "Securing requests": a proof that does not fit is error 100, as is any other parameter.
function isParameterRefused(read: GraphRead<unknown>): boolean {
  return read.outcome === 'refused' && read.failure.code === 100;
}

function valueOf<Value>(read: GraphRead<Value> | undefined): Value | undefined {
  return read?.outcome === 'answered' ? read.value : undefined;
}

function retryAfterOf({ isProofRefused: _, ...reads }: ConnectionAnswers): number | undefined {
  const waits = Object.values(reads).map((read: GraphRead<unknown> | undefined) =>
    read === undefined || read.outcome === 'answered' ? undefined : waitOf(read),
  );
  const known = waits.filter((wait) => wait !== undefined);
  return known.length === 0 ? undefined : Math.max(...known);
}

function waitOf(failure: CallFailure): number | undefined {
  if (failure.outcome === 'refused') return failure.failure.retryAfterMs;
  return failure.outcome === 'not_sent' ? failure.retryAfterMs : undefined;
}

import { type ChannelState, planLimits } from '@answerline/contracts';
import { mailProblem, ms, type Sql } from '@answerline/persistence';
import { GRAPH_ERRORS } from '@answerline/whatsapp';
import { findingsOf, type CheckResult } from './check-result.ts';
import { type ChannelFacts, type Finding } from './decide-channel-state.ts';
import { healthCode } from './reason-texts.ts';

const DAY_MS = 24 * 60 * 60 * 1_000;

/** A channel with all that its state and its health are made of. Times in ms since 1970. */
export interface ChannelRecord {
  readonly id: string;
  readonly workspaceId: string;
  readonly state: ChannelState;
  readonly stateReasons: readonly string[];
  readonly answers: boolean;
  /** Null: never, or with other credentials than those of now. */
  readonly check: { readonly at: number; readonly result: CheckResult } | null;
  readonly alarmed: readonly string[];
  /** Changes with the access token and the App Secret. */
  readonly credentialsHash: string;
  readonly facts: ChannelFacts;
}

interface Row {
  id: string;
  workspace_id: string;
  chatbot_id: string;
  state: ChannelState;
  state_reasons: string[];
  answers: boolean;
  send_hold_code: string | null;
  has_token: boolean;
  plan: string;
  is_suspended: boolean;
  has_secret: boolean;
  verified_at: number | null;
  last_signed_at: number | null;
  heard_at: number | null;
  last_forged_at: number | null;
  credentials_hash: string;
  checked_at: number | null;
  result: CheckResult | null;
  token_expires_at: number | null;
  alarmed: string[] | null;
  send_codes: string[];
}

/** Of the ciphertexts, so that it is no trace of the secrets. */
export const CREDENTIALS_HASH = `md5(coalesce(c.access_token_ciphertext, '') || ' ' || coalesce(k.app_secret_ciphertext, ''))`;

/** The WhatsApp channels with these ids, in the order of their ids. `lock`: until the end of the transaction. */
export async function readChannelRecords(
  sql: Sql,
  ids: readonly string[],
  options: { readonly now: number; readonly lock?: boolean },
): Promise<ChannelRecord[]> {
  // Locked first, in a statement of its own: what is read after it is what stood when the lock was had.
  if (options.lock === true) {
    await sql.query(`SELECT id FROM channels WHERE id = ANY($1::uuid[]) ORDER BY id FOR NO KEY UPDATE`, [ids]);
  }
  const rows = await sql.query<Row>(
    `SELECT c.id, c.workspace_id, c.chatbot_id, c.state, c.state_reasons, c.answers, c.send_hold_code,
            c.access_token_ciphertext IS NOT NULL AS has_token, w.plan, w.suspended_at IS NOT NULL AS is_suspended,
            k.app_secret_ciphertext IS NOT NULL AS has_secret, ${ms('k.verified_at')} AS verified_at,
            ${ms('k.last_signed_at')} AS last_signed_at,
            CASE WHEN c.heard_key_id = c.webhook_key_id THEN ${ms('c.heard_at')} END AS heard_at,
            (SELECT ${ms('l.received_at')} FROM webhook_log l
             WHERE l.webhook_key_id = c.webhook_key_id AND l.verdict = 'bad_signature' AND l.minute IS NOT NULL
             ORDER BY l.minute DESC LIMIT 1) AS last_forged_at,
            ${CREDENTIALS_HASH} AS credentials_hash, ${ms('h.checked_at')} AS checked_at, h.result,
            ${ms('h.token_expires_at')} AS token_expires_at, h.alarmed,
            ARRAY(SELECT DISTINCT a.code FROM attempts a
                  WHERE a.channel_id = c.id AND a.code IS NOT NULL AND a.started_at > to_timestamp(($2::float8 - ${String(DAY_MS)}) / 1000))
              AS send_codes
     FROM channels c
     JOIN workspaces w ON w.id = c.workspace_id
     LEFT JOIN webhook_keys k ON k.id = c.webhook_key_id
     LEFT JOIN channel_health h ON h.channel_id = c.id AND h.credentials_hash = ${CREDENTIALS_HASH}
     WHERE c.id = ANY($1::uuid[]) AND c.type = 'whatsapp' ORDER BY c.id`,
    [ids, options.now],
  );
  return Promise.all(
    rows.map(async (row) => {
      const problem = await mailProblem(sql, { workspaceId: row.workspace_id, chatbotId: row.chatbot_id });
      return toRecord(row, options.now, problem === null);
    }),
  );
}

function toRecord(row: Row, now: number, hasMail: boolean): ChannelRecord {
  const check = row.checked_at !== null && row.result !== null ? { at: row.checked_at, result: row.result } : null;
  // What Meta reached in the last day can be reached, whatever our own delivery came to from inside.
  const isReached = row.last_signed_at !== null && now - row.last_signed_at < DAY_MS;
  return {
    id: row.id,
    workspaceId: row.workspace_id,
    state: row.state,
    stateReasons: row.state_reasons,
    answers: row.answers,
    check,
    alarmed: row.alarmed ?? [],
    credentialsHash: row.credentials_hash,
    facts: {
      lifecycle: row.state === 'disconnected' ? 'disconnected' : row.has_token ? 'connected' : 'draft',
      planHasWhatsApp: planLimits(row.plan).whatsapp,
      isWorkspaceSuspended: row.is_suspended,
      holdCode: row.send_hold_code === null ? null : healthCode(row.send_hold_code),
      hasAppSecret: row.has_secret,
      webhookVerifiedAt: row.verified_at,
      lastSignedAt: row.last_signed_at,
      heardAt: row.heard_at,
      lastForgedAt: row.last_forged_at,
      tokenExpiresAt: row.token_expires_at,
      findings: check === null ? [] : findingsOf(check.result, !isReached),
      sendFindings: row.send_codes.flatMap(toSendFinding),
      hasMail,
    },
  };
}

/** Codes of Meta's table by what they ask for: only what a person at Meta can mend says something about the channel. */
const classes = new Map(GRAPH_ERRORS.map((row) => [row.reason, row.class]));

function toSendFinding(code: string): Finding[] {
  if (code === 'recipient_not_in_allowed_list') return [{ code, severity: 'notice' }];
  return classes.get(code) === 'account' ? [{ code: healthCode(code), severity: 'degraded' }] : [];
}

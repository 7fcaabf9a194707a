import { type ChannelState } from '@answerline/contracts';
import { describe, expect, it } from '@jest/globals';
import fc from 'fast-check';
import { decideChannelState, dueExpiryWarning, type ChannelFacts, type Finding } from './decide-channel-state.ts';

const DAY = 24 * 60 * 60 * 1_000;
const NOW = Date.parse('2026-11-20T12:00:00Z');

const live: ChannelFacts = {
  lifecycle: 'connected',
  planHasWhatsApp: true,
  isWorkspaceSuspended: false,
  holdCode: null,
  hasAppSecret: true,
  webhookVerifiedAt: NOW - DAY,
  lastSignedAt: NOW - 1_000,
  heardAt: NOW - DAY,
  lastForgedAt: null,
  tokenExpiresAt: null,
  findings: [],
  sendFindings: [],
  hasMail: true,
};
const found = (code: string, severity: Finding['severity']): Finding => ({ code, severity });

describe('the state of a channel', () => {
  it.each<[string, Partial<ChannelFacts>, ChannelState, string[]]>([
    ['nothing is wrong', {}, 'live', []],
    ['there are no credentials', { lifecycle: 'draft' }, 'draft', ['credentials_missing']],
    ['it was switched off', { lifecycle: 'disconnected', holdCode: 'token_expired' }, 'disconnected', []],
    [
      'only the credentials are known to be good',
      { webhookVerifiedAt: null, lastSignedAt: null, heardAt: null },
      'validated',
      ['webhook_not_verified', 'no_event_yet'],
    ],
    ['Meta verified the callback', { lastSignedAt: null, heardAt: null }, 'webhook_verified', ['no_event_yet']],
    [
      'other numbers of the same app were heard, and this one was not',
      { heardAt: null },
      'webhook_verified',
      ['no_event_yet'],
    ],
    [
      'an event came before there was an App Secret to check it with',
      { lastSignedAt: null },
      'webhook_verified',
      ['no_event_yet'],
    ],
    ['it has no App Secret', { hasAppSecret: false, lastSignedAt: null }, 'live', ['app_secret_missing']],
    ['events come though the verification was not seen', { webhookVerifiedAt: null }, 'live', []],
    ['a send was refused with a dead token', { holdCode: 'token_expired' }, 'broken', ['token_expired']],
    [
      'sends are held for want of a payment method',
      { holdCode: 'payment_method_missing' },
      'broken',
      ['payment_method_missing'],
    ],
    ['the token has expired', { tokenExpiresAt: NOW }, 'broken', ['token_expired']],
    ['the token expires in 14 days', { tokenExpiresAt: NOW + 14 * DAY }, 'degraded', ['token_expiring']],
    ['the token expires later', { tokenExpiresAt: NOW + 14 * DAY + 1 }, 'live', []],
    ['a check found it broken', { findings: [found('token_invalid', 'broken')] }, 'broken', ['token_invalid']],
    ['a check found it weak', { findings: [found('quality_low', 'degraded')] }, 'degraded', ['quality_low']],
    ['a check had a remark', { findings: [found('graph_unreachable', 'notice')] }, 'live', ['graph_unreachable']],
    [
      'it is weak before it was heard',
      { heardAt: null, findings: [found('app_not_subscribed', 'degraded')] },
      'webhook_verified',
      ['app_not_subscribed', 'no_event_yet'],
    ],
    [
      'deliveries were not paid for',
      { sendFindings: [found('payment_method_missing', 'degraded')] },
      'degraded',
      ['payment_method_missing'],
    ],
    [
      'a test number wrote to a stranger',
      { sendFindings: [found('recipient_not_in_allowed_list', 'notice')] },
      'live',
      ['recipient_not_in_allowed_list'],
    ],
    ['signatures are wrong since today', { lastForgedAt: NOW - 500 }, 'degraded', ['signatures_refused']],
    ['a forged delivery came before right ones', { lastForgedAt: NOW - 2_000 }, 'live', []],
    [
      'signatures were wrong long ago',
      { lastForgedAt: NOW - DAY, lastSignedAt: null, heardAt: null },
      'webhook_verified',
      ['no_event_yet'],
    ],
    ['there is no mail', { hasMail: false }, 'live', ['mail_not_configured']],
    ['the plan has no WhatsApp', { planHasWhatsApp: false }, 'suspended_by_plan', ['plan_without_whatsapp']],
    [
      'the workspace is suspended, and the token is dead',
      { isWorkspaceSuspended: true, holdCode: 'token_expired' },
      'suspended_by_plan',
      ['workspace_suspended', 'token_expired'],
    ],
  ])('when %s', (_when, facts, state, codes) => {
    const decided = decideChannelState({ ...live, ...facts }, NOW);
    expect([decided.state, decided.reasons.map(({ code }) => code)]).toEqual([state, codes]);
  });

  it('names each reason once, worst first', () => {
    const findings = [
      found('graph_unreachable', 'notice'),
      found('token_expired', 'degraded'),
      found('quality_low', 'degraded'),
    ];
    const { reasons } = decideChannelState({ ...live, findings, holdCode: 'token_expired', hasMail: false }, NOW);
    expect(reasons).toEqual([
      found('token_expired', 'broken'),
      found('quality_low', 'degraded'),
      found('graph_unreachable', 'notice'),
      found('mail_not_configured', 'notice'),
    ]);
  });

  it('is never broken by notices, never live with what is broken, and gives a reason for all but live', () => {
    const time = fc.option(fc.integer({ min: NOW - 30 * DAY, max: NOW + 30 * DAY }), { nil: null });
    const findings = fc.array(
      fc.record({ code: fc.stringMatching(/^[a-c]$/), severity: fc.constantFrom('broken', 'degraded', 'notice') }),
      { maxLength: 3 },
    );
    const facts = fc.record({
      lifecycle: fc.constantFrom('draft', 'connected', 'disconnected'),
      planHasWhatsApp: fc.boolean(),
      isWorkspaceSuspended: fc.boolean(),
      holdCode: fc.option(fc.constant('token_invalid'), { nil: null }),
      hasAppSecret: fc.boolean(),
      webhookVerifiedAt: time,
      lastSignedAt: time,
      heardAt: time,
      lastForgedAt: time,
      tokenExpiresAt: time,
      findings,
      sendFindings: findings,
      hasMail: fc.boolean(),
    });
    fc.assert(
      fc.property(facts, (given) => {
        const { state, reasons } = decideChannelState(given, NOW);
        const worst = reasons[0]?.severity;
        if (state === 'live') expect(worst ?? 'notice').toBe('notice');
        if (state === 'broken') expect(worst).toBe('broken');
        if (state === 'degraded') expect(worst).toBe('degraded');
        if (!['live', 'disconnected'].includes(state)) expect(reasons).not.toEqual([]);
        expect(new Set(reasons.map(({ code }) => code)).size).toBe(reasons.length);
      }),
    );
  });
});

describe('the warning before an expiry', () => {
  it.each([
    [15 * DAY, null],
    [14 * DAY + 1, null],
    [14 * DAY, 14],
    [7 * DAY + 1, 14],
    [7 * DAY, 7],
    [DAY + 1, 7],
    [DAY, 1],
    [1, 1],
    [0, null],
    [-DAY, null],
  ])('with %p ms left is that of %p days', (left, days) => {
    expect(dueExpiryWarning(NOW + left, NOW)).toBe(days);
  });

  it('is none for a token that never expires', () => expect(dueExpiryWarning(null, NOW)).toBeNull());
});

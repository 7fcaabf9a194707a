import * as z from 'zod';
import { workspaceSchema } from './http.ts';
import { planSchema } from './plans.ts';

const count = z.int().nonnegative();

/** Said with every answer about usage, so that nobody takes what Meta charges for ours. */
export const META_BILLS_NOTE =
  'Meta bills the messages under `meta` to your own WhatsApp Business Account; Answerline adds nothing to them. Meta counts its ' +
  'months in the time zone of that account, so its invoice can differ at the edges of a month.';

const metaUsageSchema = z.object({
  phoneNumberId: z.string(),
  delivered: count.describe('Messages that arrived this month; each is counted once'),
  free: count.describe('Of these, what Meta says is free'),
  billable: count.describe('Of these, what Meta says it charges for (pricing type regular)'),
  byCategory: z.record(z.string(), count).describe('The delivered ones by Meta’s pricing category, such as service'),
  unknown: count.describe('Of these, what Meta has not said the price of'),
});

export const usageSchema = z.object({
  month: z.string().describe('Such as 2026-11, in the time zone of the workspace'),
  timeZone: z.string(),
  messages: z.object({
    used: count.describe('AI replies that count: answers, also those that say that they do not know'),
    limit: count.nullable().describe('Of the plan, a month; null: no limit'),
    byChannel: z.array(z.object({ channelId: z.uuid(), used: count })),
  }),
  tokens: z
    .object({
      input: count,
      output: count,
      costMicros: count
        .nullable()
        .describe('In millionths of the currency of the price settings; null where none were set'),
      today: z.object({
        used: count.describe('Input and output together'),
        limit: count.describe('Of the plan; above it nobody is answered until tomorrow'),
        limitPerContact: count.describe('Of the plan, for each contact'),
      }),
    })
    .describe(
      'Tokens of the chat model this month, also of tries that came to nothing as far as the model counted them',
    ),
  meta: z.array(metaUsageSchema).describe('What Meta’s statuses say of the messages of each number'),
  note: z.string(),
});

export const changePlanSchema = z.strictObject({ plan: planSchema });
export const changedPlanSchema = z.object({
  workspace: workspaceSchema,
  suspendedChannels: z
    .array(z.uuid())
    .describe('WhatsApp channels that the new plan does not have: stored, not answered'),
  resumedChannels: z.array(z.uuid()).describe('Channels that answer again'),
});

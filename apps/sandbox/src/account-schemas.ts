import { z } from 'zod';

const id = z.string().min(1).max(300);
const secret = z.string().min(1).max(2000);
const callbackUrl = z.url({ protocol: /^https?$/ });

/** What a token may do; the product needs both. */
export const tokenScopes = ['whatsapp_business_messaging', 'whatsapp_business_management'] as const;
export type TokenScope = (typeof tokenScopes)[number];

/** Where webhooks go instead, and what answers for it in the verification GET. */
export const callbackSchema = z.strictObject({ callbackUrl, verifyToken: secret });
export type Callback = z.infer<typeof callbackSchema>;

/** Body of `PUT /sandbox/tokens`. It replaces what was known of the token. */
export const tokenSettingsSchema = z.strictObject({
  accessToken: secret,
  appId: id,
  scopes: z.array(z.string().min(1).max(200)).default([...tokenScopes]),
  expiresAt: z.number().int().min(0).default(0).describe('Unix seconds; 0 is never.'),
  isValid: z.boolean().default(true),
  wabaIds: z.array(id).optional().describe('The WABAs that it was given; all of its app when left out.'),
  errorSubcode: z.number().int().positive().optional().describe('Comes with code 190 while isValid is false.'),
});
export type TokenSettings = z.output<typeof tokenSettingsSchema>;

/** Body of `PUT /sandbox/apps/:appId`. Fields that are left out keep their value; `subscription: null` takes it away. */
export const appSettingsSchema = z.strictObject({
  appSecret: secret
    .optional()
    .describe('Signs and proves; until it is given the appSecret of each of its numbers does.'),
  subscription: callbackSchema
    .extend({ fields: z.array(z.string().min(1).max(100)), active: z.boolean().default(true) })
    .nullable()
    .optional()
    .describe("The app's webhooks, set without a verification GET."),
});
export type AppSettings = z.output<typeof appSettingsSchema>;
export type AppSubscription = NonNullable<AppSettings['subscription']>;

/** Body of `PUT /sandbox/wabas/:wabaId`. Fields that are left out keep their value. */
export const wabaSettingsSchema = z.strictObject({
  subscribedAppIds: z.array(id).optional(),
  override: callbackSchema
    .nullable()
    .optional()
    .describe('Of every app that is subscribed, set without a verification GET; null takes them away.'),
  name: z.string().min(1).max(200).optional(),
  currency: z.string().length(3).optional(),
  timezoneId: z.string().min(1).max(10).optional(),
  country: z.string().length(2).optional(),
  accountReviewStatus: z.enum(['APPROVED', 'PENDING', 'REJECTED']).optional(),
  businessVerificationStatus: z.string().min(1).max(60).optional(),
});
export type WabaSettings = z.output<typeof wabaSettingsSchema>;

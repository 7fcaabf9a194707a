import { z } from 'zod';

/** Body of `PUT /sandbox/mailbox`: what goes wrong with mails. Fields that are left out work. */
export const mailboxFaultsSchema = z.strictObject({
  isAway: z.boolean().default(false).describe('Nothing listens.'),
  refuse: z
    .strictObject({
      at: z.enum(['sender', 'recipient', 'message']).describe('MAIL FROM, RCPT TO, or the end of DATA.'),
      status: z.int().min(400).max(599),
      times: z.int().min(0).max(1_000_000).default(1_000_000).describe('So many commands, then it works again.'),
    })
    .nullable()
    .default(null),
  lostAnswers: z
    .int()
    .min(0)
    .max(1_000)
    .default(0)
    .describe('So many mails are taken, and the connection is cut instead of a 250.'),
});
export type MailboxFaults = z.infer<typeof mailboxFaultsSchema>;

export const mailsQuerySchema = z.object({
  after: z.coerce.number().int().min(0).default(0),
  limit: z.coerce.number().int().min(1).max(10_000).default(10_000),
});

/** A line of `sandbox-mails.jsonl`: one mail that was taken. */
export interface MailFields {
  readonly at: string;
  /** Of the envelope, as `to` is. */
  readonly from: string;
  readonly to: readonly string[];
  /** Decoded. */
  readonly subject: string;
  /** As they came, by their name in small letters; those that came more than once with line ends between them. */
  readonly headers: Readonly<Record<string, string>>;
  readonly text: string;
  /** Empty when there is none. */
  readonly html: string;
  readonly attachments: readonly { readonly filename: string; readonly contentType: string; readonly text: string }[];
}
export type MailEntry = MailFields & { readonly n: number };

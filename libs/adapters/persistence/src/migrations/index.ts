import { CreateTheSpine1795380000000 } from './1795380000000-create-the-spine.ts';
import { ReceiptsOfAskedQuestions1795400000000 } from './1795400000000-receipts-of-asked-questions.ts';
import { AddIndexVersionsAndEmbeddings1795410000000 } from './1795410000000-add-index-versions-and-embeddings.ts';
import { AddMails1795420000000 } from './1795420000000-add-mails.ts';
import { ConnectAgainstMeta1795430000000 } from './1795430000000-connect-against-meta.ts';
import { AddChannelHealth1795440000000 } from './1795440000000-add-channel-health.ts';
import { AddMailSetup1795450000000 } from './1795450000000-add-mail-setup.ts';
import { AddHandoffSettings1795460000000 } from './1795460000000-add-handoff-settings.ts';
import { AddQuotaAndBudgets1795470000000 } from './1795470000000-add-quota-and-budgets.ts';
import { FreeNumbersAndDeletionMarks1795480000000 } from './1795480000000-free-numbers-and-deletion-marks.ts';

/** All migrations, oldest first. */
export const migrations = [
  CreateTheSpine1795380000000,
  ReceiptsOfAskedQuestions1795400000000,
  AddIndexVersionsAndEmbeddings1795410000000,
  AddMails1795420000000,
  ConnectAgainstMeta1795430000000,
  AddChannelHealth1795440000000,
  AddMailSetup1795450000000,
  AddHandoffSettings1795460000000,
  AddQuotaAndBudgets1795470000000,
  FreeNumbersAndDeletionMarks1795480000000,
];

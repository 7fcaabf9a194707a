import { CreateTheSpine1795380000000 } from './1795380000000-create-the-spine.ts';
import { ReceiptsOfAskedQuestions1795400000000 } from './1795400000000-receipts-of-asked-questions.ts';
import { AddIndexVersionsAndEmbeddings1795410000000 } from './1795410000000-add-index-versions-and-embeddings.ts';

/** All migrations, oldest first. */
export const migrations = [
  CreateTheSpine1795380000000,
  ReceiptsOfAskedQuestions1795400000000,
  AddIndexVersionsAndEmbeddings1795410000000,
];

import { CreateTheSpine1795380000000 } from './1795380000000-create-the-spine.ts';

/** All migrations, oldest first. */
export const migrations = [CreateTheSpine1795380000000];

export { IngestModule } from './ingest.module.ts';
export { StoreWebhooks, type StoreResult } from './store-webhooks/store-webhooks.ts';

import { bareWebhook, type BareWebhookOptions } from './bare-webhook.ts';
import { processOptions } from './process-options.ts';

/** The floor of bench/webhook.ts as a process of its own. */
const { app } = await bareWebhook(processOptions<BareWebhookOptions>());
console.log(`READY ${await app.listen({ host: '127.0.0.1', port: 0 })}/hook`);
